"""What a session reads of its selected mailbox: first how many messages each block of UIDs has, then only blocks it needs.

A block is read as a view of an earlier moment must see it: the rows of now, without the messages that came later, and
beside them the UIDs that were removed meanwhile, which that view still counts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from mailbox_app.store.maildir import block_queries, mailboxes, queries, sync
from mailbox_app.store.maildir.files import readable_at_least
from mailbox_app.store.maildir.opened import OpenAccount
from mailbox_app.store.maildir.schema import BLOCK_BITS
from mailbox_app.store.model import BlockCount, BlockRows, Outline

_BLOCKS_A_QUERY = 16


def outline(opened: OpenAccount, mailbox_id: int) -> Outline:
    """Carry out `Account.outline`."""
    with readable_at_least():
        sync.synchronise(opened, mailbox_id)
    with opened.db.reading() as connection:
        connection.execute("BEGIN")
        row = queries.load_mailbox(connection, mailbox_id)
        info = mailboxes.info(row, queries.is_subscribed(connection, row.name))
        counts = [BlockCount(*values) for values in block_queries.block_counts(connection, row)]
        before = 0
        first_unseen = None
        for block in counts if row.unseen_count else ():
            if block.unseen_count:
                first_unseen = before + block_queries.first_unseen(connection, row, block.number)
                break
            before += block.message_count
        border = row.first_recent_uid
        recent_count = sum(block.message_count for block in counts if block.number > border >> BLOCK_BITS)
        if border < row.uidnext:
            recent_count += block_queries.count_from(connection, row, border)
    return Outline(info, BLOCK_BITS, counts, first_unseen, recent_count, row.folder)


def blocks(opened: OpenAccount, mailbox_id: int, numbers: Sequence[int], as_of: int, below: int) -> list[BlockRows]:
    """Carry out `Account.blocks`."""
    known = opened.blocks.find(mailbox_id, numbers, as_of, below)
    if known is not None:
        return known
    found: list[BlockRows] = []
    with opened.db.reading() as connection:
        connection.execute("BEGIN")
        row = queries.load_mailbox(connection, mailbox_id)
        for run in _runs(numbers):
            low, high = run.start << BLOCK_BITS, min(run.stop << BLOCK_BITS, below)
            uids, flags, modseqs = block_queries.columns_between(connection, row, low, high, as_of)
            removed: list[int] = []
            if as_of < row.highest_modseq:
                removed = block_queries.expunged_between(connection, row, as_of, low, high)
            start = begin = 0
            for number in run:
                end = bisect_left(uids, (number + 1) << BLOCK_BITS, start)
                stop = bisect_left(removed, (number + 1) << BLOCK_BITS, begin)
                part = slice(start, end)
                found.append(BlockRows(number, uids[part], flags[part], modseqs[part], removed[begin:stop]))
                start, begin = end, stop
    if as_of == row.highest_modseq:
        opened.blocks.keep(mailbox_id, found, as_of, below)
    return found


def _runs(numbers: Sequence[int]) -> Iterator[range]:
    """Adjacent ones together, but not too many at once."""
    start = 0
    for place in range(1, len(numbers) + 1):
        if place == len(numbers) or numbers[place] != numbers[place - 1] + 1 or place - start == _BLOCKS_A_QUERY:
            yield range(numbers[start], numbers[place - 1] + 1)
            start = place
