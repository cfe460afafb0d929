"""Sequence sets: parsed ranges, their meaning over a mailbox, and the compressed way back to bytes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

STAR = 1 << 32
"""Stands for `*`: one more than the largest number the grammar allows."""


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """Ranges as (first, last) in the order given; either end may be `STAR`. RFC 9051 9, sequence-set."""

    ranges: tuple[tuple[int, int], ...]
    saved: bool = False
    """It is `$`, what the last SEARCH saved; then there are no ranges. RFC 5182"""

    def bounds(self, largest: int) -> list[tuple[int, int]]:
        """(low, high) ascending and merged, with `*` read as `largest`."""
        pairs = []
        for first, last in self.ranges:
            low = largest if first == STAR else first
            high = largest if last == STAR else last
            pairs.append((low, high) if low <= high else (high, low))
        if len(pairs) == 1:
            return pairs
        pairs.sort()
        merged: list[tuple[int, int]] = []
        for low, high in pairs:
            if merged and low <= merged[-1][1] + 1:
                if high > merged[-1][1]:
                    merged[-1] = (merged[-1][0], high)
            else:
                merged.append((low, high))
        return merged


def _joined(spans: Sequence[range]) -> Sequence[int]:
    if len(spans) == 1:
        return spans[0]
    return [index for span in spans for index in span]


def indexes_of_numbers(wanted: SequenceSet, count: int) -> Sequence[int] | None:
    """Zero-based positions, ascending; None when a number is beyond the mailbox. RFC 9051 9, seq-number."""
    spans = []
    for low, high in wanted.bounds(count):
        if low < 1 or high > count:
            return None
        spans.append(range(low - 1, high))
    return _joined(spans)


def indexes_within(wanted: SequenceSet, count: int) -> Sequence[int]:
    """Zero-based positions, ascending; numbers beyond the mailbox are passed over."""
    spans = [range(max(low, 1) - 1, min(high, count)) for low, high in wanted.bounds(count)]
    return _joined([span for span in spans if span] or [range(0)])


class Membership:
    """Whether a number is in a set, in logarithmic time and without listing the set."""

    def __init__(self, wanted: SequenceSet, largest: int) -> None:
        bounds = wanted.bounds(largest)
        self._lows = [low for low, _ in bounds]
        self._highs = [high for _, high in bounds]

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self._lows, number) - 1
        return place >= 0 and number <= self._highs[place]


def indexes_of_uids(wanted: SequenceSet, uids: Sequence[int]) -> Sequence[int]:
    """Zero-based positions of the UIDs that exist, ascending; `*` is the last one."""
    largest = uids[-1] if uids else 0
    if not largest:
        return range(0)
    spans = []
    for low, high in wanted.bounds(largest):
        span = range(bisect_left(uids, low), bisect_right(uids, high))
        if span:
            spans.append(span)
    return _joined(spans) if spans else range(0)


def compress(numbers: Iterable[int]) -> str:
    """Numbers in their order as a sequence set: runs that climb by one become ranges."""
    parts: list[str] = []
    start = last = -1
    for number in numbers:
        if number == last + 1 and start >= 0:
            last = number
            continue
        if start >= 0:
            parts.append(f"{start}:{last}" if last > start else str(start))
        start = last = number
    if start >= 0:
        parts.append(f"{start}:{last}" if last > start else str(start))
    return ",".join(parts)
