"""A command's message set over the session's view: which blocks it needs, then which positions it means."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from mailbox_app.proto.imap.sequence import STAR, SequenceSet
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.selected import Selected


def has_star(wanted: SequenceSet) -> bool:
    """Whether `*` is in it: as a UID it is known when the last block is loaded."""
    return any(STAR in bounds for bounds in wanted.ranges)


def uid_bounds(view: Selected, wanted: SequenceSet) -> list[tuple[int, int]]:
    """Ascending ranges of UIDs; the last block is loaded when `has_star`."""
    if wanted.saved:
        return runs(view.saved)
    last = view.blocks.last()
    if last is None:
        return []
    return wanted.bounds(last.uids[-1] if has_star(wanted) else 0)


def runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending numbers as ranges."""
    if not numbers:
        return []
    ends = [index for index, (each, after) in enumerate(pairwise(numbers)) if after - each != 1]
    firsts = [numbers[0], *(numbers[index + 1] for index in ends)]
    return list(zip(firsts, [*(numbers[index] for index in ends), numbers[-1]], strict=True))


def positions_of_uids(view: Selected, bounds: Sequence[tuple[int, int]]) -> Sequence[int]:
    """Zero-based positions, ascending; the blocks are loaded. UIDs that do not exist are passed over. RFC 9051 6.4.9"""
    place = view.blocks.place
    return _joined([span for low, high in bounds if (span := range(place(low), place(high + 1)))])


def positions_of_numbers(view: Selected, wanted: SequenceSet) -> Sequence[int]:
    """Zero-based positions, ascending; numbers beyond the mailbox are BAD. RFC 9051 9, seq-number."""
    spans = []
    for low, high in wanted.bounds(view.count):
        if low < 1 or high > view.count:
            raise Refusal("No such message number", status="BAD")
        spans.append(range(low - 1, high))
    return _joined(spans)


def _joined(spans: Sequence[range]) -> Sequence[int]:
    """Ascending spans as one sequence, a range when nothing is between them."""
    if not spans:
        return range(0)
    first, last = spans[0].start, spans[-1].stop
    if sum(map(len, spans)) == last - first:
        return range(first, last)
    return [index for span in spans for index in span]
