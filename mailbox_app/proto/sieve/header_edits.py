"""The header as a script changed it: which received fields are gone, which new ones stand above or below. RFC 5293.

Immutable; each edit gives a new value, so an action keeps the header as it was when the script decided on it. The received
bytes stay as they are: `apply` only leaves fields out and puts fields in.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mailbox_app.proto.header import Header, header_end, unfold

_LINE = 75


class Place(NamedTuple):
    """One field of the header as it is now."""

    where: str
    """above, received or below."""
    number: int
    """Its index in `HeaderEdits.above`, `Header.fields` or `HeaderEdits.below`."""
    value: bytes
    """Unfolded."""


@dataclass(frozen=True, slots=True)
class HeaderEdits:
    """Edits of one header block, to be applied to that block only."""

    above: tuple[tuple[str, str], ...] = ()
    """New fields (name, value) above the received ones, top first."""
    below: tuple[tuple[str, str], ...] = ()
    removed: frozenset[int] = frozenset()
    """Indexes of received fields in `Header.fields`."""

    def __bool__(self) -> bool:
        return bool(self.above or self.below or self.removed)

    def added(self, name: str, value: str, *, last: bool) -> HeaderEdits:
        """With one more field, above all others or below them."""
        if last:
            return HeaderEdits(self.above, (*self.below, (name, value)), self.removed)
        return HeaderEdits(((name, value), *self.above), self.below, self.removed)

    def places(self, header: Header, key: str) -> Sequence[Place]:
        """All fields of that name (`key` in lower case), top first."""
        name = key.encode("utf-8", "surrogateescape")

        def new(where: str, fields: Sequence[tuple[str, str]]) -> list[Place]:
            return [
                Place(where, index, value.encode("utf-8", "surrogateescape"))
                for index, (added, value) in enumerate(fields)
                if added.lower() == key
            ]

        received = [
            Place("received", index, unfold(field.value))
            for index, field in enumerate(header.fields)
            if field.key == name and index not in self.removed
        ]
        return [*new("above", self.above), *received, *new("below", self.below)]

    def without(self, places: Sequence[Place]) -> HeaderEdits:
        """Without these fields."""
        gone = {(place.where, place.number) for place in places}
        return HeaderEdits(
            tuple(field for index, field in enumerate(self.above) if ("above", index) not in gone),
            tuple(field for index, field in enumerate(self.below) if ("below", index) not in gone),
            self.removed | {index for where, index in gone if where == "received"},
        )

    def growth(self, header: Header) -> int:
        """By how many bytes the message is longer with these edits."""
        added = sum(len(render_field(name, value)) for name, value in (*self.above, *self.below))
        return added - sum(header.fields[index].end - header.fields[index].start for index in self.removed)

    def apply(self, block: bytes) -> bytes:
        """The edited header block; `block` may be a whole message, whose body then follows unchanged."""
        end = header_end(block)
        head = block[:end]
        fields = Header.parse(head).fields
        pieces = [render_field(name, value) for name, value in self.above]
        position = 0
        for index in sorted(self.removed):
            if index < len(fields):
                pieces.append(head[position : fields[index].start])
                position = fields[index].end
        rest = head[position:]
        empty_line = b"\r\n" if rest.endswith((b"\n\r\n", b"\n\n")) or rest in (b"\r\n", b"\n") else b""
        if empty_line:
            empty_line = rest[-2:] if rest.endswith(b"\r\n") else rest[-1:]
            rest = rest[: -len(empty_line)]
        pieces.append(rest)
        if self.below:
            if rest and not rest.endswith(b"\n"):
                pieces.append(b"\r\n")
            pieces += [render_field(name, value) for name, value in self.below]
        pieces += [empty_line, block[end:]]
        return b"".join(pieces)


def render_field(name: str, value: str) -> bytes:
    """A field as it is written into a message: folded, what is not ASCII as encoded words. RFC 2047."""
    words: list[bytes] = []
    for word in value.split():
        if word.isascii() and word.isprintable() and not (word.startswith("=?") and word.endswith("?=")):
            words += _cut(word.encode("ascii"))
        elif words and words[-1].startswith(b"=?utf-8?B?") and words[-1].endswith(b"?="):
            words += _encoded(" " + word)  # white space between encoded words is not shown: it belongs inside
        else:
            words += _encoded(word)
    lines = [name.encode("ascii", "replace") + b":"]
    for each in words:
        if (
            len(lines[-1]) + 1 + len(each) > _LINE
            and len(lines[-1]) > 1
            and lines[-1].strip()
            and len(lines[-1]) > len(name) + 1
        ):
            lines.append(b"")
        lines[-1] += b" " + each
    return b"\r\n".join(lines) + b"\r\n"


def _cut(word: bytes) -> Sequence[bytes]:
    """RFC 5322 2.1.1: no line is longer than 998; a word that is cannot stay whole."""
    return [word[at : at + 900] for at in range(0, len(word), 900)]


def _encoded(text: str) -> Sequence[bytes]:
    return [
        b"=?utf-8?B?"
        + binascii.b2a_base64(text[at : at + 10].encode("utf-8", "surrogateescape"), newline=False)
        + b"?="
        for at in range(0, len(text), 10)
    ]
