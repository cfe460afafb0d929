"""The keys of a search as questions about one block of messages at a time.

Sets of messages are integers with one byte for each message of the block, 1 where it is in the set, so that combining two sets
is one operation however many messages there are. A key's answer is two sets: those that certainly match and those that
certainly do not; the others are asked again when more is known (`Level`).
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import IntEnum
from functools import cache

from mailbox_app.proto.dates import local_midnight, parse_date
from mailbox_app.proto.header import decode_words, unfold
from mailbox_app.proto.imap.search import Day, HeaderText, ObjectId, Size, Text, When, Within
from mailbox_app.proto.text.folding import fold
from mailbox_app.proto.text.message import ADDRESS_FIELDS, plain_addresses
from mailbox_app.services.imap.blocks import Block
from mailbox_app.store.search.index import Candidates

_DAY_SECONDS = 86_400
Answer = tuple[int, int]
"""(certainly, certainly not)."""
UNKNOWN: Answer = (0, 0)


class Level(IntEnum):
    """What has been read of a block's messages."""

    COUNTS = 0
    ARRAYS = 1
    ROW = 2
    HEADER = 3
    TEXT = 4


def full_set(count: int) -> int:
    """All messages of a block of so many."""
    return int.from_bytes(b"\1" * count, "little")


def as_set(members: bytes | bytearray) -> int:
    """From one byte for each message."""
    return int.from_bytes(members, "little")


@dataclass(frozen=True, slots=True)
class Scope:
    """The block that is asked about."""

    block: Block
    start: int
    """Position of its first message."""
    bits: int
    full: int

    @property
    def uid_bounds(self) -> tuple[int, int]:
        """The lowest and the highest UID that would be in it."""
        low = self.block.number << self.bits
        return low, low + (1 << self.bits) - 1

    def certain(self, members: int) -> Answer:
        """These and no others."""
        return members, self.full ^ members


class Leaf:
    """One key."""

    level = Level.ARRAYS

    def before(self, scope: Scope) -> Answer:
        """What is known without the block's arrays."""
        return UNKNOWN

    def look(self, scope: Scope) -> Answer:
        """What its arrays say."""
        return self.before(scope)


class FlagLeaf(Leaf):
    """A flag. `counts` may tell (messages, messages without it) of blocks that are not loaded."""

    def __init__(self, bit: int) -> None:
        self._bit = bit
        self.counts: dict[int, tuple[int, int]] = {}

    def before(self, scope: Scope) -> Answer:
        """By the store's count of the block, when it counts what the view counts."""
        if not self._bit:
            return 0, scope.full
        count, without = self.counts.get(scope.block.number, (-1, 0))
        if count != scope.block.count or 0 < without < count:
            return UNKNOWN
        return (0, scope.full) if without else (scope.full, 0)

    def look(self, scope: Scope) -> Answer:
        """By the flags; there are few different ones."""
        flags = scope.block.flags
        values = set(flags)
        having = {value for value in values if value & self._bit}
        if not having:
            return 0, scope.full
        if len(having) == len(values):
            return scope.full, 0
        return scope.certain(as_set(bytes(map(having.__contains__, flags))))


class ModseqLeaf(Leaf):
    """Changed since."""

    def __init__(self, modseq: int) -> None:
        self._modseq = modseq

    def look(self, scope: Scope) -> Answer:
        """By the modseqs."""
        return scope.certain(as_set(bytes(map(self._modseq.__le__, scope.block.modseqs))))


class RangeLeaf(Leaf):
    """Sequence numbers or UIDs: ascending ranges."""

    def __init__(self, bounds: Sequence[tuple[int, int]], *, uids: bool) -> None:
        self._uids = uids
        self.set_bounds(bounds)

    def set_bounds(self, bounds: Sequence[tuple[int, int]]) -> None:
        """Ascending, apart from each other."""
        self._lows = [low for low, _ in bounds]
        self._highs = [high for _, high in bounds]

    def before(self, scope: Scope) -> Answer:
        """Sequence numbers are known; of UIDs only whether the block can have any."""
        count = scope.block.count
        low, high = scope.uid_bounds if self._uids else (scope.start + 1, scope.start + count)
        first, end = bisect_left(self._highs, low), bisect_right(self._lows, high)
        if first >= end:
            return 0, scope.full
        if self._lows[first] <= low and self._highs[first] >= high:
            return scope.full, 0
        if self._uids:
            return UNKNOWN
        members = bytearray(count)
        for index in range(first, end):
            begin = max(self._lows[index], low) - low
            stop = min(self._highs[index], high) - low + 1
            members[begin:stop] = b"\1" * (stop - begin)
        return scope.certain(as_set(members))

    def look(self, scope: Scope) -> Answer:
        """By the UIDs."""
        answer = self.before(scope)
        if answer != UNKNOWN:
            return answer
        uids = scope.block.uids
        low, high = scope.uid_bounds
        members = bytearray(len(uids))
        for index in range(bisect_left(self._highs, low), bisect_right(self._lows, high)):
            begin = bisect_left(uids, self._lows[index])
            stop = bisect_right(uids, self._highs[index], begin)
            members[begin:stop] = b"\1" * (stop - begin)
        return scope.certain(as_set(members))


class RowLeaf(Leaf):
    """Something a column of the index says."""

    level = Level.ROW

    def __init__(self, column: str, accept: Callable[[object], bool]) -> None:
        self.column = column
        self.accept = accept


class IndexedLeaf(Leaf):
    """Something the search index knows candidates for."""

    def __init__(self, needle: str, where: str) -> None:
        self.needle = fold(needle)
        self.where = where
        self.candidates: Candidates | None = None

    def before(self, scope: Scope) -> Answer:
        """A block without candidates is done."""
        if self.candidates is None:
            return UNKNOWN
        low, high = scope.uid_bounds
        if high >= self.candidates.indexed_below:
            return UNKNOWN
        return UNKNOWN if _between(self.candidates, low, high) else (0, scope.full)

    def look(self, scope: Scope) -> Answer:
        """Whoever is no candidate."""
        candidates = self.candidates
        if candidates is None:
            return UNKNOWN
        block = scope.block
        members = bytearray(len(block.uids))
        low, high = scope.uid_bounds
        for uid in _between(candidates, low, high):
            place = block.find(uid)
            if place is not None:
                members[place] = 1
        fresh = bisect_left(block.uids, candidates.indexed_below)
        members[fresh:] = b"\1" * (len(members) - fresh)
        return 0, scope.full ^ as_set(members)


def _between(candidates: Candidates, low: int, high: int) -> list[int]:
    found: list[int] = []
    for uids in (candidates.uids, candidates.gaps):
        found += uids[bisect_left(uids, low) : bisect_right(uids, high)]
    return found


class HeaderLeaf(IndexedLeaf):
    """Something the header block says."""

    level = Level.HEADER

    def __init__(self, needle: str, accept: Callable[[bytes], bool]) -> None:
        super().__init__(needle, "header")
        self.accept = accept


class TextLeaf(IndexedLeaf):
    """Something only the message's text says."""

    level = Level.TEXT

    def __init__(self, key: Text) -> None:
        super().__init__(key.text, "body" if key.body_only else "text")
        self.body_only = key.body_only


def size_leaf(key: Size) -> RowLeaf:
    """LARGER, SMALLER."""
    limit = key.size_bytes
    if key.larger:
        return RowLeaf("size_bytes", lambda value: value > limit)  # type: ignore[operator]
    return RowLeaf("size_bytes", lambda value: value < limit)  # type: ignore[operator]


def day_leaf(key: Day, column: str) -> RowLeaf:
    """A day in this machine's zone, as the dates are shown."""
    begin = local_midnight(key.day)
    end = local_midnight(key.day + timedelta(days=1)) if key.day < date.max else begin + _DAY_SECONDS
    if key.when is When.ON:
        return RowLeaf(column, lambda value: begin <= value < end)  # type: ignore[operator]
    if key.when is When.BEFORE:
        return RowLeaf(column, lambda value: value < begin)  # type: ignore[operator]
    return RowLeaf(column, lambda value: value >= begin)  # type: ignore[operator]


def within_leaf(key: Within, now_seconds: float) -> RowLeaf:
    """RFC 5032 2."""
    limit = now_seconds - key.seconds
    if key.younger:
        return RowLeaf("internal_seconds", lambda value: value >= limit)  # type: ignore[operator]
    return RowLeaf("internal_seconds", lambda value: value <= limit)  # type: ignore[operator]


def object_leaf(key: ObjectId) -> RowLeaf:
    """RFC 8474 4.3."""
    wanted = key.object_id
    return RowLeaf("thread_id" if key.thread else "email_id", lambda value: value == wanted)


def sent_leaf(key: Day) -> HeaderLeaf:
    """The Date header's day, in its own zone."""
    field = _field_pattern(b"date")

    def look(block: bytes) -> bool:
        match = field.search(b"\n" + block)
        moment = parse_date(unfold(match[1])) if match else None
        if moment is None:
            return False
        day = moment.date()
        if key.when is When.ON:
            return day == key.day
        return day < key.day if key.when is When.BEFORE else day >= key.day

    return HeaderLeaf("", look)


def header_leaf(key: HeaderText) -> HeaderLeaf:
    """A field's text."""
    field = cache(
        lambda: _field_pattern(key.name)
    )  # in the searching thread: thousands of them take some tenths of a second
    wanted = fold(key.text)
    has_addresses = key.name in ADDRESS_FIELDS
    # One word in ASCII is not in the field when it is not in the block as it stands; it could only hide in encoded words,
    # in 8-bit text, or (with a space) in a folded line.
    quick = wanted.encode("ascii") if wanted.isascii() and wanted.isprintable() and " " not in wanted else b""

    def look(block: bytes) -> bool:
        is_plain = quick and block.isascii() and b"=?" not in block
        if is_plain and not has_addresses and quick not in block.lower():
            return False
        values = field().findall(b"\n" + block)
        if is_plain and any(quick in value.lower() for value in values):
            return True
        if any(wanted in fold(decode_words(value)) for value in values):
            return True
        return has_addresses and any(wanted in fold(plain_addresses(value)) for value in values if b"(" in value)

    return HeaderLeaf(key.text, look)


def _field_pattern(name: bytes) -> re.Pattern[bytes]:
    """The folded values of one header field of a block with a line end before it.

    Line end and first letter first: the engine then looks at the beginnings of lines only.
    """
    first = re.escape(name[:1].lower() + name[:1].upper())
    word = b"[%b](?i:%b)" % (first, re.escape(name[1:])) if name else b""
    return re.compile(rb"\n" + word + rb"[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)")
