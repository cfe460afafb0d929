"""SEARCH over a mailbox: the cheapest knowledge first.

A program is compiled into one function that answers yes, no or "not known yet" about a message. Flags, numbers and modseqs
are known from the session's arrays; what stays undecided is asked again with the row's size and date, then with the
stored header block, at last with the message's text. So a search reads only what it must, a batch per step; steps run
in a thread and the loop goes on between them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import IntEnum

from mailbox_app.errors import StoreError
from mailbox_app.ids import Uid
from mailbox_app.proto.dates import parse_date
from mailbox_app.proto.header import decode_words, unfold
from mailbox_app.proto.imap.search import (
    And,
    ChangedSince,
    Day,
    HasFlag,
    HeaderText,
    Key,
    Not,
    Numbers,
    Or,
    Size,
    Text,
    Uids,
    When,
)
from mailbox_app.proto.imap.sequence import Membership, indexes_of_uids, indexes_within
from mailbox_app.proto.mime import PartTable
from mailbox_app.services.imap.bodies import BodyReader
from mailbox_app.services.imap.message_text import MessageText
from mailbox_app.services.imap.selected import RECENT, SYSTEM_FLAGS, Selected
from mailbox_app.store.interface import Account
from mailbox_app.store.model import KEYWORD_SHIFT


class Level(IntEnum):
    """How much is known of a message."""

    ARRAYS = 0
    ROW = 1
    HEADER = 2
    TEXT = 3


class Candidate:
    """What is known of one message so far."""

    __slots__ = ("flags", "found", "header", "index", "internal_day", "level", "modseq", "size_bytes")

    def __init__(self, index: int, flags: int, modseq: int) -> None:
        self.index = index
        self.flags = flags
        self.modseq = modseq
        self.level = Level.ARRAYS
        self.size_bytes = 0
        self.internal_day = date.min
        self.header = b""
        self.found: dict[Key, bool] = {}
        """What the header and the text said; they themselves are not kept."""


Answer = bool | None
Test = Callable[[Candidate], Answer]
_BATCH = {Level.ROW: 2_000, Level.HEADER: 200, Level.TEXT: 20}
_COLUMNS = {
    Level.ROW: ("size_bytes", "internal_seconds"),
    Level.HEADER: ("header",),
    Level.TEXT: ("parts",),
}
_LOOP_TESTS = 20_000
"""What may be tested on the loop: about 10 ms."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Search:
    """One search over one view. `fast` answers from the arrays alone, `run` does the rest; `run` blocks."""

    def __init__(self, view: Selected, program: Key) -> None:
        self._view = view
        everything = range(view.count)
        self._uids, self._all_flags = view.uids_at(everything), view.flags_at(everything)
        self._modseqs = view.modseqs_at(everything)
        self._levels: set[Level] = set()
        self._texts: list[Text] = []
        self._tests = 0
        keys = program.keys if isinstance(program, And) else (program,)
        sets = [key for key in keys if isinstance(key, Numbers | Uids)]
        self._narrowing = sets[0] if sets else None
        masks = {key: mask for key in keys if (mask := self._mask(key)) is not None}
        self._flags = list(masks.values())
        rest = [key for key in keys if key is not self._narrowing and key not in masks]
        self._test = self._compile(And(tuple(rest))) if rest else None

    def _mask(self, key: Key) -> tuple[int, bool] | None:
        """A flag key as a bit and whether it must be set."""
        if isinstance(key, HasFlag):
            return self._bit(key.flag), True
        if isinstance(key, Not) and isinstance(key.key, HasFlag):
            return self._bit(key.key.flag), False
        return None

    def _bit(self, flag: str) -> int:
        """The bit of a flag; 0, which no message has, for a keyword nobody used."""
        if flag == "\\recent":
            return RECENT
        if flag in SYSTEM_FLAGS:
            return int(SYSTEM_FLAGS[flag])
        wanted = flag.lower()
        for number, keyword in enumerate(self._view.keywords):
            if keyword.lower() == wanted:
                return 1 << KEYWORD_SHIFT + number
        return 0

    def fast(self) -> Sequence[int] | None:
        """The positions found when arrays are enough; None when `run` is needed."""
        if self._view.count > _LOOP_TESTS:
            return None
        if self._test is None:
            return self._narrowed()
        if not self._levels and self._view.count * self._tests <= _LOOP_TESTS:
            return [hit for batch in self.run(_no_account) for hit in batch]
        return None

    def _narrowed(self) -> Sequence[int]:
        """Positions that pass the sets and flags of the top level, at C speed."""
        view = self._view
        indexes: Sequence[int] = range(view.count)
        if self._narrowing is not None:
            indexes = _indexes(self._narrowing, self._uids, view.count)
        if not self._flags:
            return indexes
        mask = value = 0
        for bit, is_set in self._flags:
            if (bit == 0 and is_set) or (mask & bit and bool(value & bit) != is_set):
                return []
            mask |= bit
            value |= bit if is_set else 0
        flags = self._all_flags
        if isinstance(indexes, range) and len(indexes) == view.count:
            return [index for index, each in enumerate(flags) if each & mask == value]
        return [index for index in indexes if flags[index] & mask == value]

    def run(self, mail: Callable[[], Account]) -> Iterator[list[int]]:
        """The positions found, batch by batch, not in order; an empty batch only says that work goes on."""
        test = self._test
        if test is None:
            yield list(self._narrowed())
            return
        hits: list[int] = []
        open_ones: list[Candidate] = []
        for index in self._narrowed():
            candidate = Candidate(index, self._all_flags[index], self._modseqs[index])
            answer = test(candidate)
            if answer:
                hits.append(index)
            elif answer is None:
                open_ones.append(candidate)
        yield hits
        for level in sorted(self._levels):
            undecided: list[Candidate] = []
            for start in range(0, len(open_ones), _BATCH[level]):
                batch = open_ones[start : start + _BATCH[level]]
                hits = []
                for candidate in self._informed(mail(), batch, level):
                    answer = test(candidate)
                    candidate.header = b""
                    if answer:
                        hits.append(candidate.index)
                    elif answer is None:
                        undecided.append(candidate)
                yield hits
            open_ones = undecided

    def _informed(self, account: Account, batch: Sequence[Candidate], level: Level) -> Iterator[Candidate]:
        """The batch with more known; messages that are gone are left out."""
        view = self._view
        by_uid = {self._uids[candidate.index]: candidate for candidate in batch}
        uids = [Uid(uid) for uid in by_uid]
        reader = BodyReader(account, view.mailbox_id)
        for row in list(account.rendered(view.mailbox_id, uids, _COLUMNS[level])):
            candidate = by_uid[row[0]]  # type: ignore[index]
            if level is Level.ROW:
                candidate.size_bytes = row[1]  # type: ignore[assignment]
                candidate.internal_day = (_EPOCH + timedelta(seconds=row[2])).date()  # type: ignore[arg-type]
            elif level is Level.HEADER:
                # One too long for the index is in the file only.
                candidate.header = row[1] or reader.read_header(row[0])  # type: ignore[assignment, arg-type]
            elif not self._read_text(account, candidate, row[1]):  # type: ignore[arg-type]
                continue
            candidate.level = level
            yield candidate

    def _read_text(self, account: Account, candidate: Candidate, parts: bytes) -> bool:
        try:
            opened = account.open_message(self._view.mailbox_id, Uid(self._uids[candidate.index]))
        except StoreError as error:
            if error.temporary:
                raise
            return False
        with opened:
            text = MessageText(opened, PartTable.decode(parts))
            for body_only in (True, False):
                keys = [key for key in self._texts if key.body_only is body_only]
                if keys:
                    found = text.contains([key.text.casefold() for key in keys], body_only=body_only)
                    candidate.found.update(zip(keys, found, strict=True))
        return True

    # compiling
    def _compile(self, key: Key) -> Test:
        self._tests += 1
        match key:
            case And():
                return _all([self._compile(each) for each in key.keys])
            case Or():
                return _any([self._compile(key.left), self._compile(key.right)])
            case Not():
                inner = self._compile(key.key)
                return lambda candidate: None if (answer := inner(candidate)) is None else not answer
            case HasFlag():
                bit = self._bit(key.flag)
                return lambda candidate: bool(candidate.flags & bit)
            case Numbers():
                numbers = Membership(key.wanted, self._view.count)
                return lambda candidate: candidate.index + 1 in numbers
            case Uids():
                uids = self._uids
                members = Membership(key.wanted, uids[-1] if uids else 0)
                return lambda candidate: uids[candidate.index] in members
            case ChangedSince():
                return lambda candidate: candidate.modseq >= key.modseq
            case Size():
                return self._size(key)
            case Day():
                return self._sent_day(key) if key.sent else self._internal_day(key)
            case HeaderText():
                return self._header_text(key)
            case Text():
                return self._text(key)

    def _size(self, key: Size) -> Test:
        self._levels.add(Level.ROW)
        limit, larger = key.size_bytes, key.larger

        def test(candidate: Candidate) -> Answer:
            if candidate.level < Level.ROW:
                return None
            return candidate.size_bytes > limit if larger else candidate.size_bytes < limit

        return test

    def _internal_day(self, key: Day) -> Test:
        self._levels.add(Level.ROW)
        return lambda candidate: None if candidate.level < Level.ROW else _compare(candidate.internal_day, key)

    def _sent_day(self, key: Day) -> Test:
        self._levels.add(Level.HEADER)
        field = _field_pattern(b"date")

        def look(block: bytes) -> bool:
            match = field.search(block)
            moment = parse_date(unfold(match[1])) if match else None
            return moment is not None and _compare(moment.date(), key)

        return _of_header(key, look)

    def _header_text(self, key: HeaderText) -> Test:
        self._levels.add(Level.HEADER)
        field = _field_pattern(key.name)
        wanted = key.text.casefold()
        # One word in ASCII is not in the field when it is not in the block as it stands; it could only hide in encoded
        # words, in 8-bit text, or (with a space) in a folded line.
        quick = wanted.encode("ascii") if wanted.isascii() and wanted.isprintable() and " " not in wanted else b""

        def look(block: bytes) -> bool:
            if quick and block.isascii() and b"=?" not in block and quick not in block.lower():
                return False
            return any(wanted in decode_words(value).casefold() for value in field.findall(block))

        return _of_header(key, look)

    def _text(self, key: Text) -> Test:
        self._levels.add(Level.TEXT)
        self._texts.append(key)
        return lambda candidate: candidate.found.get(key)


def _of_header(key: Key, look: Callable[[bytes], bool]) -> Test:
    """A test that looks at the header while it is there and remembers what it said."""

    def test(candidate: Candidate) -> Answer:
        answer = candidate.found.get(key)
        if answer is None and candidate.level is Level.HEADER:
            answer = candidate.found[key] = look(candidate.header)
        return answer

    return test


def _no_account() -> Account:
    raise AssertionError("arrays are enough")


def _indexes(key: Numbers | Uids, uids: Sequence[int], count: int) -> Sequence[int]:
    """Positions of a set; numbers beyond the mailbox match nothing."""
    if isinstance(key, Uids):
        return indexes_of_uids(key.wanted, uids)
    return indexes_within(key.wanted, count)


def _all(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]

    def test(candidate: Candidate) -> Answer:
        known = True
        for each in tests:
            answer = each(candidate)
            if answer is None:
                known = False
            elif not answer:
                return False
        return True if known else None

    return test


def _any(tests: Sequence[Test]) -> Test:
    def test(candidate: Candidate) -> Answer:
        known = True
        for each in tests:
            answer = each(candidate)
            if answer:
                return True
            known = known and answer is not None
        return False if known else None

    return test


def _compare(day: date, key: Day) -> bool:
    if key.when is When.ON:
        return day == key.day
    return day < key.day if key.when is When.BEFORE else day >= key.day


def _field_pattern(name: bytes) -> re.Pattern[bytes]:
    """The folded values of one header field."""
    return re.compile(rb"^" + re.escape(name) + rb"[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)", re.IGNORECASE | re.MULTILINE)
