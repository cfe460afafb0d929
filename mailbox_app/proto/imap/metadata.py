"""GETMETADATA and SETMETADATA: entry names, options, values. RFC 5464 3.2, 4.2, 4.3.

Entry names are compared without case and kept in lower case; they begin with `/private/` or `/shared/`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap.grammar import Cursor

MAX_ENTRY = 255
_MAX_ENTRIES = 100
_LITERAL8 = re.compile(rb"~\{(\d{1,19})\+?\}\r\n")
_ENTRY = re.compile(r"/(?:private|shared)(?:/[^/\x00-\x1f\x7f%*]+)*")


@dataclass(frozen=True, slots=True)
class MetadataQuery:
    """A parsed GETMETADATA; `mailbox` is empty for the server's."""

    mailbox: str
    entries: tuple[str, ...]
    max_size: int | None = None
    depth: int | None = 0
    """How many levels below the entries; None: all."""


@dataclass(frozen=True, slots=True)
class MetadataChange:
    """A parsed SETMETADATA; None removes."""

    mailbox: str
    values: dict[str, bytes | None]


def read_entry(cursor: Cursor) -> str:
    """One entry name."""
    data = cursor.astring()
    if not data.isascii() or len(data) > MAX_ENTRY:
        raise cursor.fail("an entry name")
    entry = data.decode("ascii").lower()
    if not _ENTRY.fullmatch(entry):
        raise cursor.fail("an entry name below /private or /shared")
    return entry


def parse_getmetadata(cursor: Cursor) -> MetadataQuery:
    """Options before the mailbox (as the examples have them) or behind it (as the grammar has it)."""
    cursor.space()
    options: tuple[int | None, int | None] = (None, 0)
    if cursor.peek(b"("):
        options = _options(cursor)
        cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    if cursor.peek(b"(MAXSIZE ") or cursor.peek(b"(DEPTH "):
        options = _options(cursor)
        cursor.space()
    if cursor.peek(b"("):
        cursor.expect(b"(")
        entries = [read_entry(cursor)]
        while not cursor.accept(b")"):
            cursor.space()
            entries.append(read_entry(cursor))
            _check_count(len(entries))
    else:
        entries = [read_entry(cursor)]
    return MetadataQuery(mailbox, tuple(dict.fromkeys(entries)), *options)


def _options(cursor: Cursor) -> tuple[int | None, int | None]:
    max_size: int | None = None
    depth: int | None = 0
    cursor.expect(b"(")
    while True:
        if cursor.accept(b"MAXSIZE "):
            max_size = cursor.number()
        elif cursor.accept(b"DEPTH "):
            word = cursor.atom().lower()
            if word not in {b"0", b"1", b"infinity"}:
                raise cursor.fail("0, 1 or infinity")
            depth = None if word == b"infinity" else int(word)
        else:
            raise cursor.fail("MAXSIZE or DEPTH")
        if cursor.accept(b")"):
            return max_size, depth
        cursor.space()


def parse_setmetadata(cursor: Cursor) -> MetadataChange:
    """A mailbox, then entries and values in parentheses."""
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    cursor.expect(b"(")
    values: dict[str, bytes | None] = {}
    while True:
        entry = read_entry(cursor)
        if entry.count("/") < 2:
            raise cursor.fail("a whole entry name")
        cursor.space()
        values[entry] = _value(cursor)
        _check_count(len(values))
        if cursor.accept(b")"):
            return MetadataChange(mailbox, values)
        cursor.space()


def _value(cursor: Cursor) -> bytes | None:
    binary = _LITERAL8.match(cursor.data, cursor.pos)  # RFC 3516 4.1: the only form that may hold NUL
    if binary is None:
        return cursor.nstring()
    start, size = binary.end(), int(binary[1])
    if len(cursor.data) - start < size:
        raise cursor.fail("the whole literal")
    cursor.pos = start + size
    return cursor.data[start : cursor.pos]


def _check_count(count: int) -> None:
    if count > _MAX_ENTRIES:
        raise ProtocolError("imap.limit", "too many entries")
