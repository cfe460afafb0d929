"""SEARCH's program as a tree of plain values. RFC 9051 6.4.4, RFC 4731 (RETURN), RFC 7162 3.1.5 (MODSEQ).

Depth and number of keys are bounded: a tree is walked once per message.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap.grammar import MAX_MODSEQ, Cursor
from mailbox_app.proto.imap.sequence import SequenceSet

MAX_DEPTH = 50
MAX_KEYS = 1_000


@dataclass(frozen=True, slots=True)
class And:
    """All of them; no keys at all match everything."""

    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One or the other."""

    left: Key
    right: Key


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    key: Key


@dataclass(frozen=True, slots=True)
class HasFlag:
    """A system flag in lower case with backslash (also \\recent), or a keyword."""

    flag: str


@dataclass(frozen=True, slots=True)
class Numbers:
    """Message sequence numbers."""

    wanted: SequenceSet


@dataclass(frozen=True, slots=True)
class Uids:
    """UIDs."""

    wanted: SequenceSet


class When(StrEnum):
    """Comparison of days."""

    BEFORE = "BEFORE"
    ON = "ON"
    SINCE = "SINCE"


@dataclass(frozen=True, slots=True)
class Day:
    """INTERNALDATE's day, or (`sent`) the Date header's, disregarding time and zone."""

    when: When
    day: date
    sent: bool


@dataclass(frozen=True, slots=True)
class Size:
    """RFC822.SIZE larger (or smaller) than."""

    larger: bool
    size_bytes: int


@dataclass(frozen=True, slots=True)
class HeaderText:
    """A field of this name (lower case) contains the text; an empty text: the field is there."""

    name: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """The decoded text (`body_only`: without the header) contains the text."""

    text: str
    body_only: bool


@dataclass(frozen=True, slots=True)
class ChangedSince:
    """The modseq is this or higher."""

    modseq: int


Key = And | Or | Not | HasFlag | Numbers | Uids | Day | Size | HeaderText | Text | ChangedSince


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A whole SEARCH. `returns` is None without RETURN; RETURN () means ALL."""

    program: Key
    returns: frozenset[str] | None = None
    wants_modseq: bool = False


class BadCharset(ProtocolError):
    """A charset we do not search in: NO [BADCHARSET], not BAD."""

    def __init__(self) -> None:
        super().__init__("imap.charset", "search in US-ASCII or UTF-8")


_FLAG_KEYS = {
    name.upper().encode("ascii"): name for name in ("answered", "deleted", "draft", "flagged", "recent", "seen")
}
_HEADER_KEYS = {name.upper(): name for name in (b"bcc", b"cc", b"from", b"subject", b"to")}
_DAYS = {b"BEFORE": When.BEFORE, b"ON": When.ON, b"SINCE": When.SINCE}
_RETURNS = frozenset({"MIN", "MAX", "ALL", "COUNT"})


def parse_search(cursor: Cursor) -> SearchRequest:
    """RETURN options, charset, keys; the cursor stands after "SEARCH "."""
    returns = None
    if cursor.accept(b"RETURN "):
        returns = _return_options(cursor)
        cursor.space()
    if cursor.accept(b"CHARSET "):
        if cursor.astring().upper() not in (b"UTF-8", b"US-ASCII"):
            raise BadCharset
        cursor.space()
    reader = _Reader(cursor)
    keys = [reader.key(0)]
    while not cursor.at_end():
        cursor.space()
        keys.append(reader.key(0))
    program = keys[0] if len(keys) == 1 else And(tuple(keys))
    return SearchRequest(program, returns, reader.wants_modseq)


def _return_options(cursor: Cursor) -> frozenset[str]:
    cursor.expect(b"(")
    options: set[str] = set()
    if cursor.accept(b")"):
        return frozenset({"ALL"})
    while True:
        option = cursor.word().decode("ascii")
        if option not in _RETURNS:
            raise cursor.fail("a known return option")
        options.add(option)
        if cursor.accept(b")"):
            return frozenset(options)
        cursor.space()


class _Reader:
    """Reads keys and keeps count of them."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._count = 0
        self.wants_modseq = False

    def key(self, depth: int) -> Key:
        cursor = self._cursor
        self._count += 1
        if depth > MAX_DEPTH or self._count > MAX_KEYS:
            raise ProtocolError("imap.limit", "search too complex")
        if cursor.accept(b"("):
            keys = [self.key(depth + 1)]
            while not cursor.accept(b")"):
                cursor.space()
                keys.append(self.key(depth + 1))
            return keys[0] if len(keys) == 1 else And(tuple(keys))
        following = cursor.data[cursor.pos : cursor.pos + 1]
        if following.isdigit() or following == b"*":
            return Numbers(cursor.sequence_set())
        return self._named(cursor.word(), depth)

    def _named(self, word: bytes, depth: int) -> Key:
        cursor = self._cursor
        if word == b"ALL":
            return And(())
        if word in _FLAG_KEYS:
            return HasFlag("\\" + _FLAG_KEYS[word])
        if word.startswith(b"UN") and word[2:] in _FLAG_KEYS and word != b"UNRECENT":
            return Not(HasFlag("\\" + _FLAG_KEYS[word[2:]]))
        if word == b"OLD":
            return Not(HasFlag("\\recent"))
        if word == b"NEW":
            return And((HasFlag("\\recent"), Not(HasFlag("\\seen"))))
        cursor.space()
        if word == b"NOT":
            return Not(self.key(depth + 1))
        if word == b"OR":
            left = self.key(depth + 1)
            cursor.space()
            return Or(left, self.key(depth + 1))
        return self._with_value(word)

    def _with_value(self, word: bytes) -> Key:
        cursor = self._cursor
        if word in _HEADER_KEYS:
            return HeaderText(_HEADER_KEYS[word], self._text())
        if word in (b"BODY", b"TEXT"):
            return Text(self._text(), body_only=word == b"BODY")
        if word == b"HEADER":
            name = cursor.astring().lower()
            cursor.space()
            return HeaderText(name, self._text())
        if word in (b"LARGER", b"SMALLER"):
            return Size(word == b"LARGER", cursor.number(MAX_MODSEQ))
        if word == b"UID":
            return Uids(cursor.sequence_set())
        if word in _DAYS:
            return Day(_DAYS[word], cursor.date(), sent=False)
        if word.startswith(b"SENT") and word[4:] in _DAYS:
            return Day(_DAYS[word[4:]], cursor.date(), sent=True)
        if word in (b"KEYWORD", b"UNKEYWORD"):
            flag = HasFlag(cursor.atom().decode("ascii"))
            return flag if word == b"KEYWORD" else Not(flag)
        if word == b"MODSEQ":
            return self._modseq()
        raise cursor.fail("a search key")

    def _modseq(self) -> Key:
        cursor = self._cursor
        if cursor.peek(b'"'):  # RFC 7162 3.1.5: the entry name narrows nothing here, all flags share one modseq
            cursor.string()
            cursor.space()
            if cursor.word() not in (b"PRIV", b"SHARED", b"ALL"):
                raise cursor.fail("priv, shared or all")
            cursor.space()
        self.wants_modseq = True
        return ChangedSince(cursor.number(MAX_MODSEQ))

    def _text(self) -> str:
        try:
            return self._cursor.astring().decode("utf-8")
        except UnicodeDecodeError as error:
            raise ProtocolError("imap.syntax", "search text is not UTF-8") from error
