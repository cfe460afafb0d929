"""FETCH's items: parsed once, each with the exact label its answer carries. RFC 9051 6.4.5, RFC 3501 6.4.5.

Taken beyond the grammar, because other servers take it and clients rely on it: BINARY with section texts (HEADER, TEXT,
MIME), and for them a partial range without its length, which means the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap import response
from mailbox_app.proto.imap.grammar import MAX_MODSEQ, Cursor
from mailbox_app.proto.imap.partial import Partial, read_partial

MAX_ITEMS = 100
MAX_HEADER_NAMES = 100
MAX_PART_DEPTH = 100


class Kind(StrEnum):
    """What a body section names of its part."""

    WHOLE = ""
    HEADER = "HEADER"
    FIELDS = "HEADER.FIELDS"
    FIELDS_NOT = "HEADER.FIELDS.NOT"
    TEXT = "TEXT"
    MIME = "MIME"


@dataclass(frozen=True, slots=True)
class Body:
    """A body section: BODY[...], BODY.PEEK[...] or one of the RFC822 items."""

    label: bytes
    """As the answer names it, BODY[...] with the partial's origin."""
    part: tuple[int, ...]
    kind: Kind
    names: tuple[bytes, ...] = ()
    """Header names in lower case."""
    peek: bool = False
    offset: int = 0
    count: int | None = None
    """None: all of it."""
    decoded: bool = False
    """BINARY: without its content transfer encoding. RFC 3516 4.2."""
    size_only: bool = False
    """BINARY.SIZE."""


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What one FETCH asks for: simple item names (upper case), in order, and body sections."""

    items: tuple[str | Body, ...]
    changed_since: int | None = None
    vanished: bool = False
    """RFC 7162 3.2.6."""
    partial: Partial | None = None

    @property
    def sets_seen(self) -> bool:
        """Whether a body is read without PEEK."""
        return any(isinstance(item, Body) and not item.peek for item in self.items)


PREVIEW_LAZY = "PREVIEW (LAZY)"
"""PREVIEW only if it costs nothing to speak of. RFC 8970 4.1."""
SIMPLE = frozenset(
    {"UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY", "BODYSTRUCTURE", "MODSEQ",
     "SAVEDATE", "EMAILID", "THREADID", "PREVIEW"}
)  # fmt: skip
_MACROS = {
    b"FAST": ("FLAGS", "INTERNALDATE", "RFC822.SIZE"),
    b"ALL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"),
    b"FULL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"),
}
_RFC822 = {
    b"RFC822": Body(b"RFC822", (), Kind.WHOLE),
    b"RFC822.HEADER": Body(b"RFC822.HEADER", (), Kind.HEADER, peek=True),
    b"RFC822.TEXT": Body(b"RFC822.TEXT", (), Kind.TEXT),
}
# (how it begins, how the answer calls it, whether the message stays unseen)
_SECTIONS = (
    (b"BODY.PEEK[", b"BODY", True),
    (b"BODY[", b"BODY", False),
    (b"BINARY.PEEK[", b"BINARY", True),
    (b"BINARY[", b"BINARY", False),
    (b"BINARY.SIZE[", b"BINARY.SIZE", True),
)
# The longest first, so that BODY does not hide BODYSTRUCTURE.
_NAMES = sorted((*(name.encode("ascii") for name in SIMPLE), *_RFC822), key=len, reverse=True)


def parse_fetch(cursor: Cursor) -> FetchRequest:
    """Items or a macro, then modifiers."""
    items: tuple[str | Body, ...] | None = None
    for macro, names in _MACROS.items():
        if cursor.peek(macro) and cursor.data[cursor.pos + len(macro) : cursor.pos + len(macro) + 1] in (b"", b" "):
            cursor.pos += len(macro)
            items = names
            break
    if items is None:
        items = _item_list(cursor) if cursor.accept(b"(") else (_item(cursor),)
    request = FetchRequest(tuple(dict.fromkeys(items)))
    return _with_modifiers(cursor, request) if cursor.accept(b" (") else request


def _with_modifiers(cursor: Cursor, request: FetchRequest) -> FetchRequest:
    """RFC 4466 2.4: each once, in any order."""
    seen = set()
    while True:
        name = cursor.word()
        if name in seen:
            raise cursor.fail("each modifier once")
        seen.add(name)
        if name == b"CHANGEDSINCE":  # RFC 7162 3.1.4.1
            cursor.space()
            request = replace(request, changed_since=cursor.number(MAX_MODSEQ))
        elif name == b"VANISHED":  # RFC 7162 3.2.6
            request = replace(request, vanished=True)
        elif name == b"PARTIAL":  # RFC 9394 3.3
            cursor.space()
            request = replace(request, partial=read_partial(cursor))
        else:
            raise cursor.fail("a known modifier")
        if cursor.accept(b")"):
            break
        cursor.space()
    if request.vanished and request.changed_since is None:
        raise cursor.fail("CHANGEDSINCE with VANISHED")
    return request


def _item_list(cursor: Cursor) -> tuple[str | Body, ...]:
    items = [_item(cursor)]
    while not cursor.accept(b")"):
        cursor.space()
        items.append(_item(cursor))
        if len(items) > MAX_ITEMS:
            raise ProtocolError("imap.limit", "too many items")
    return tuple(items)


def _item(cursor: Cursor) -> str | Body:
    for start, label, peek in _SECTIONS:
        if cursor.accept(start):
            return parse_section(cursor, label, peek=peek)
    for name in _NAMES:
        if cursor.accept(name):
            following = cursor.data[cursor.pos : cursor.pos + 1]
            if following not in (b"", b" ", b")"):
                break
            if name == b"PREVIEW" and cursor.accept(b" ("):
                return _preview(cursor)
            return _RFC822.get(name) or name.decode("ascii")
    raise cursor.fail("a message item")


def _preview(cursor: Cursor) -> str:
    if cursor.peek(b"LAZY)"):
        cursor.pos += 5
        return PREVIEW_LAZY
    cursor.pos -= 2  # a modifier of FETCH
    return "PREVIEW"


def parse_section(cursor: Cursor, label: bytes, *, peek: bool) -> Body:
    """What stands behind the opening bracket."""
    part: list[int] = []
    kind = Kind.WHOLE
    names: tuple[bytes, ...] = ()
    while not cursor.peek(b"]"):
        if cursor.data[cursor.pos : cursor.pos + 1].isdigit():
            part.append(cursor.number())
            if part[-1] == 0 or len(part) > MAX_PART_DEPTH:
                raise cursor.fail("a part number")
            if cursor.peek(b"]"):
                break
            cursor.expect(b".")
            if cursor.peek(b"]"):
                raise cursor.fail("a section")
            continue
        kind, names = _section_text(cursor)
        if kind is Kind.MIME and not part:
            raise cursor.fail("a part number")
        break
    cursor.expect(b"]")
    size_only = label == b"BINARY.SIZE"
    text = b"%b[%b]" % (label, _spec(part, kind, names))
    offset, count = 0, None
    if not size_only and cursor.accept(b"<"):
        offset = cursor.number(MAX_MODSEQ)
        if label == b"BODY" or cursor.peek(b"."):
            cursor.expect(b".")
            count = cursor.number()
            if count == 0:
                raise cursor.fail("a length above zero")
        cursor.expect(b">")
        text += b"<%d>" % offset
    lowered = tuple(name.lower() for name in names)
    decoded = label != b"BODY"
    return Body(text, tuple(part), kind, lowered, peek, offset, count, decoded=decoded, size_only=size_only)


def _section_text(cursor: Cursor) -> tuple[Kind, tuple[bytes, ...]]:
    if cursor.accept(b"HEADER.FIELDS"):
        kind = Kind.FIELDS_NOT if cursor.accept(b".NOT") else Kind.FIELDS
        cursor.expect(b" (")
        names = [cursor.astring()]
        while not cursor.accept(b")"):
            cursor.space()
            names.append(cursor.astring())
            if len(names) > MAX_HEADER_NAMES:
                raise ProtocolError("imap.limit", "too many header names")
        return kind, tuple(names)
    for kind in (Kind.HEADER, Kind.TEXT, Kind.MIME):
        if cursor.accept(kind.value.encode("ascii")):
            return kind, ()
    raise cursor.fail("a section")


def _spec(part: list[int], kind: Kind, names: tuple[bytes, ...]) -> bytes:
    words = [".".join(str(number) for number in part)] if part else []
    if kind is not Kind.WHOLE:
        words.append(kind.value)
    spec = ".".join(words).encode("ascii")
    if names:
        spec += b" (%b)" % b" ".join(_header_name(name) for name in names)
    return spec


def _header_name(name: bytes) -> bytes:
    return name if name.isascii() and name.replace(b"-", b"").isalnum() else response.string(name)
