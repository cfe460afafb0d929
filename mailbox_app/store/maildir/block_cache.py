"""Blocks read a moment ago, for the next session that selects the mailbox while nothing changed in it.

A block read when the mailbox stood at a modseq is what every view of that modseq must see, whatever happened since: the
news that follow tell the difference. It lives as long as the account's open index, which is seconds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from mailbox_app.store.model import BlockRows

_KEPT = 4
"""80 KiB each, for each open account."""

Key = tuple[int, int, int, int]


class BlockCache:
    """Safe from any thread; gives and takes copies, because views change theirs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: OrderedDict[Key, BlockRows] = OrderedDict()

    def find(self, mailbox_id: int, numbers: Sequence[int], as_of: int, below: int) -> list[BlockRows] | None:
        """These blocks as a view of `as_of` sees them; None unless all are here."""
        with self._lock:
            found = [self._blocks.get((mailbox_id, number, as_of, below)) for number in numbers]
        copies = [_copy(each) for each in found if each is not None]
        return copies if copies and len(copies) == len(found) else None

    def keep(self, mailbox_id: int, blocks: Sequence[BlockRows], as_of: int, below: int) -> None:
        """Remember blocks that were read while the mailbox stood at `as_of`; more than a few push each other out."""
        if len(blocks) > _KEPT:
            return
        with self._lock:
            for each in blocks:
                self._blocks[mailbox_id, each.number, as_of, below] = _copy(each)
            while len(self._blocks) > _KEPT:
                self._blocks.popitem(last=False)


def _copy(block: BlockRows) -> BlockRows:
    return replace(block, uids=block.uids[:], flags=block.flags[:], modseqs=block.modseqs[:])
