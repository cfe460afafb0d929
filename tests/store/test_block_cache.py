from __future__ import annotations

from array import array

from mailbox_app.store.maildir.block_cache import BlockCache
from mailbox_app.store.model import BlockRows


def block(number: int) -> BlockRows:
    return BlockRows(number, array("I", [number]), array("Q", [0]), array("Q", [5]), [])


def test_a_block_is_found_for_the_same_moment_only():
    cache = BlockCache()
    cache.keep(1, [block(0), block(1)], 5, 100)
    assert cache.find(1, [0, 1], 5, 100) == [block(0), block(1)]
    assert cache.find(1, [1], 5, 100) == [block(1)]
    for other in ((2, [0], 5, 100), (1, [0], 6, 100), (1, [0], 5, 101), (1, [0, 2], 5, 100), (1, [], 5, 100)):
        assert cache.find(*other) is None


def test_what_a_view_does_to_its_block_reaches_nobody_else():
    cache = BlockCache()
    given = block(0)
    cache.keep(1, [given], 5, 100)
    given.flags[0] = 9
    first = cache.find(1, [0], 5, 100)
    assert first is not None
    first[0].flags[0] = 8
    assert cache.find(1, [0], 5, 100) == [block(0)]


def test_few_are_kept():
    cache = BlockCache()
    cache.keep(1, [block(number) for number in range(5)], 5, 100)
    assert cache.find(1, [0], 5, 100) is None
    for number in range(5):
        cache.keep(1, [block(number)], 5, 100)
    assert cache.find(1, [0], 5, 100) is None
    assert cache.find(1, [4], 5, 100) == [block(4)]
