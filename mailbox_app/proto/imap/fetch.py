"""FETCH's items: parsed once, each with the exact label its answer carries. RFC 9051 6.4.5, RFC 3501 6.4.5."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap import response
from mailbox_app.proto.imap.grammar import MAX_MODSEQ, Cursor

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


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What one FETCH asks for: simple item names (upper case), in order, and body sections."""

    items: tuple[str | Body, ...]
    changed_since: int | None = None

    @property
    def sets_seen(self) -> bool:
        """Whether a body is read without PEEK."""
        return any(isinstance(item, Body) and not item.peek for item in self.items)


SIMPLE = frozenset(
    {"UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY", "BODYSTRUCTURE", "MODSEQ"}
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
    changed_since = None
    if cursor.accept(b" ("):
        cursor.expect(b"CHANGEDSINCE ")  # RFC 7162 3.1.4.1
        changed_since = cursor.number(MAX_MODSEQ)
        cursor.expect(b")")
    return FetchRequest(tuple(dict.fromkeys(items)), changed_since)


def _item_list(cursor: Cursor) -> tuple[str | Body, ...]:
    items = [_item(cursor)]
    while not cursor.accept(b")"):
        cursor.space()
        items.append(_item(cursor))
        if len(items) > MAX_ITEMS:
            raise ProtocolError("imap.limit", "too many items")
    return tuple(items)


def _item(cursor: Cursor) -> str | Body:
    if cursor.accept(b"BODY.PEEK["):
        return _section(cursor, peek=True)
    if cursor.accept(b"BODY["):
        return _section(cursor, peek=False)
    for name in _NAMES:
        if cursor.accept(name):
            following = cursor.data[cursor.pos : cursor.pos + 1]
            if following not in (b"", b" ", b")"):
                break
            return _RFC822.get(name) or name.decode("ascii")
    raise cursor.fail("a message item")


def _section(cursor: Cursor, *, peek: bool) -> Body:
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
    label = b"BODY[%b]" % _spec(part, kind, names)
    offset, count = 0, None
    if cursor.accept(b"<"):
        offset = cursor.number(MAX_MODSEQ)
        cursor.expect(b".")
        count = cursor.number()
        if count == 0:
            raise cursor.fail("a length above zero")
        cursor.expect(b">")
        label += b"<%d>" % offset
    return Body(label, tuple(part), kind, tuple(name.lower() for name in names), peek, offset, count)


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
