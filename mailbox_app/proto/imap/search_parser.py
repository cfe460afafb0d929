"""Reads the searching commands: SEARCH, SORT, THREAD and ESEARCH.

Depth and number of keys are bounded, and so is the recursion; a chain of ORs, which clients make hundreds long, is one
key however deep it is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap.grammar import MAX_MODSEQ, Cursor
from mailbox_app.proto.imap.partial import read_partial
from mailbox_app.proto.imap.search import (
    And,
    BadCharset,
    ChangedSince,
    Clock,
    Day,
    HasFlag,
    HeaderText,
    Key,
    Not,
    Numbers,
    ObjectId,
    Or,
    Returns,
    SearchRequest,
    Size,
    Text,
    Uids,
    When,
    Within,
)

Named = TypeVar("Named", bound=StrEnum)

MAX_DEPTH = 100
MAX_KEYS = 5_000
MAX_TEXTS = 500
"""TEXT and BODY: each is looked for in all of a message."""
MAX_MAILBOXES = 1_000

_FLAG_KEYS = {
    name.upper().encode("ascii"): name for name in ("answered", "deleted", "draft", "flagged", "recent", "seen")
}
_HEADER_KEYS = {name.upper(): name for name in (b"bcc", b"cc", b"from", b"subject", b"to")}
_DAYS = {
    clock.value.encode("ascii") + when.value.encode("ascii"): (when, clock) for clock in Clock for when in When
}  # fmt: skip
_RETURNS = frozenset({"MIN", "MAX", "ALL", "COUNT", "SAVE", "CONTEXT", "UPDATE"})
_OBJECT_ID = re.compile(rb"[A-Za-z0-9_-]{1,255}")


class SortKey(StrEnum):
    """RFC 5256 3, RFC 5957 4."""

    ARRIVAL = "ARRIVAL"
    CC = "CC"
    DATE = "DATE"
    FROM = "FROM"
    SIZE = "SIZE"
    SUBJECT = "SUBJECT"
    TO = "TO"
    DISPLAYFROM = "DISPLAYFROM"
    DISPLAYTO = "DISPLAYTO"


@dataclass(frozen=True, slots=True)
class Criterion:
    """One sort key and its direction."""

    key: SortKey
    reverse: bool


@dataclass(frozen=True, slots=True)
class SortRequest:
    """A whole SORT."""

    criteria: tuple[Criterion, ...]
    search: SearchRequest


class ThreadAlgorithm(StrEnum):
    """RFC 5256 3."""

    ORDEREDSUBJECT = "ORDEREDSUBJECT"
    REFERENCES = "REFERENCES"


@dataclass(frozen=True, slots=True)
class ThreadRequest:
    """A whole THREAD."""

    algorithm: ThreadAlgorithm
    search: SearchRequest


class Source(StrEnum):
    """Which mailboxes a source option means. RFC 7377 2.2, RFC 5465 6"""

    SELECTED = "SELECTED"
    INBOXES = "INBOXES"
    PERSONAL = "PERSONAL"
    SUBSCRIBED = "SUBSCRIBED"
    SUBTREE = "SUBTREE"
    SUBTREE_ONE = "SUBTREE-ONE"
    MAILBOXES = "MAILBOXES"


@dataclass(frozen=True, slots=True)
class Sources:
    """One source option; `names` for the last three only."""

    source: Source
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MultiSearchRequest:
    """A whole ESEARCH command."""

    sources: tuple[Sources, ...]
    search: SearchRequest


def parse_search(cursor: Cursor) -> SearchRequest:
    """RETURN options, charset, keys; the cursor stands after "SEARCH "."""
    returns = read_returns(cursor)
    names_charset = cursor.accept(b"CHARSET ")
    if names_charset:
        _charset(cursor, returns)
    return _program(cursor, returns, names_charset)


def parse_sort(cursor: Cursor) -> SortRequest:
    """RETURN options, criteria, charset, keys; the cursor stands after "SORT "."""
    returns = read_returns(cursor)
    cursor.expect(b"(")
    criteria: list[Criterion] = []
    while True:
        reverse = cursor.accept(b"REVERSE ")
        criteria.append(Criterion(_member(cursor, SortKey, "a sort key"), reverse))
        if len(criteria) > 2 * len(SortKey):
            raise ProtocolError("imap.limit", "too many sort keys")
        if cursor.accept(b")"):
            break
        cursor.space()
    cursor.space()
    _charset(cursor, returns)
    return SortRequest(tuple(criteria), _program(cursor, returns, names_charset=False))


def parse_thread(cursor: Cursor) -> ThreadRequest:
    """Algorithm, charset, keys; the cursor stands after "THREAD "."""
    algorithm = _member(cursor, ThreadAlgorithm, "a threading algorithm")
    cursor.space()
    _charset(cursor, None)
    return ThreadRequest(algorithm, _program(cursor, None, names_charset=False))


def parse_multi_search(cursor: Cursor) -> MultiSearchRequest:
    """Sources, RETURN options, charset, keys; the cursor stands after "ESEARCH "."""
    sources: list[Sources] = []
    if cursor.accept(b"IN ("):
        while True:
            source = _member(cursor, Source, "a source of messages")
            names: tuple[str, ...] = ()
            if source in (Source.SUBTREE, Source.SUBTREE_ONE, Source.MAILBOXES):
                cursor.space()
                names = _mailboxes(cursor)
            sources.append(Sources(source, names))
            if len(sources) + sum(len(each.names) for each in sources) > MAX_MAILBOXES:
                raise ProtocolError("imap.limit", "too many mailboxes")
            if cursor.accept(b")"):
                break
            cursor.space()
        cursor.space()
    search = parse_search(cursor)
    return MultiSearchRequest(tuple(sources) or (Sources(Source.SELECTED),), search)


def _member(cursor: Cursor, kind: type[Named], what: str) -> Named:
    try:
        return kind(cursor.word().decode("ascii"))
    except ValueError as error:
        raise cursor.fail(what) from error


def _mailboxes(cursor: Cursor) -> tuple[str, ...]:
    if not cursor.accept(b"("):
        return (cursor.mailbox(),)
    names = [cursor.mailbox()]
    while not cursor.accept(b")"):
        cursor.space()
        names.append(cursor.mailbox())
        if len(names) > MAX_MAILBOXES:
            raise ProtocolError("imap.limit", "too many mailboxes")
    return tuple(names)


def read_returns(cursor: Cursor) -> Returns | None:
    """RETURN and its list with the space behind it, when it comes next."""
    if not cursor.accept(b"RETURN "):
        return None
    options: set[str] = set()
    partial = None
    for _ in cursor.each_in_list():
        option = cursor.word().decode("ascii")
        if option == "PARTIAL" and partial is None:
            cursor.space()
            partial = read_partial(cursor)
        elif option in _RETURNS:
            options.add(option)
        else:
            raise cursor.fail("a known return option")
    if not options and partial is None:
        options.add("ALL")
    if partial is not None and "ALL" in options:
        raise ProtocolError("imap.syntax", "ALL and PARTIAL exclude each other")  # RFC 9394 3.1
    cursor.space()
    return Returns(frozenset(options), partial)


def _charset(cursor: Cursor, returns: Returns | None) -> None:
    if cursor.astring().upper() not in (b"UTF-8", b"US-ASCII"):
        raise BadCharset(saves=returns is not None and returns.saves)
    cursor.space()


def _program(cursor: Cursor, returns: Returns | None, names_charset: bool) -> SearchRequest:
    reader = _Reader(cursor)
    keys = [reader.key(0)]
    while not cursor.at_end():
        cursor.space()
        keys.append(reader.key(0))
    program = keys[0] if len(keys) == 1 else And(tuple(keys))
    return SearchRequest(program, returns, reader.wants_modseq, names_charset)


class _Reader:
    """Reads keys and keeps count of them."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._count = self._texts = 0
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
        if following.isdigit() or following in (b"*", b"$"):
            return Numbers(cursor.sequence_set())
        return self._named(cursor.word(), depth)

    def _named(self, word: bytes, depth: int) -> Key:
        cursor = self._cursor
        if word in (b"ALL", b"SAVEDATESUPPORTED"):  # every mailbox of ours knows when a message was saved
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
            return self._chain(depth)
        return self._with_value(word)

    def _chain(self, depth: int) -> Key:
        """`OR a OR b OR c d` is one key."""
        cursor = self._cursor
        keys = [self.key(depth + 1)]
        cursor.space()
        while cursor.accept(b"OR "):
            keys.append(self.key(depth + 1))
            cursor.space()
        keys.append(self.key(depth + 1))
        return Or(tuple(keys))

    def _with_value(self, word: bytes) -> Key:
        cursor = self._cursor
        if word in _HEADER_KEYS:
            return HeaderText(_HEADER_KEYS[word], self._text())
        if word in (b"BODY", b"TEXT"):
            self._texts += 1
            if self._texts > MAX_TEXTS:
                raise ProtocolError("imap.limit", "search too complex")
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
            when, clock = _DAYS[word]
            return Day(when, cursor.date(), clock)
        if word in (b"OLDER", b"YOUNGER"):
            seconds = cursor.number()
            if not seconds:
                raise cursor.fail("an interval")
            return Within(word == b"YOUNGER", seconds)
        if word in (b"EMAILID", b"THREADID"):
            return self._object_id(word == b"THREADID")
        if word in (b"KEYWORD", b"UNKEYWORD"):
            flag = HasFlag(cursor.atom().decode("ascii"))
            return flag if word == b"KEYWORD" else Not(flag)
        if word == b"MODSEQ":
            return self._modseq()
        raise cursor.fail("a search key")

    def _object_id(self, thread: bool) -> Key:
        text = self._cursor.astring()
        if not _OBJECT_ID.fullmatch(text):
            raise self._cursor.fail("an object id")
        return ObjectId(text, thread)

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
