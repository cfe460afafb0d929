"""A message as a script changed it: texts of its own, and ranges of the message as it was before. Nothing large is copied."""

from __future__ import annotations

import base64
import re
import secrets
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from mailbox_app.proto.header import FIELD, Header, header_end

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.message import Message, Read

_ENTITY_FIELD = re.compile(rb"content-[a-z0-9-]+\Z")
_LONGEST_LINE = 900


class Rewritten:
    """A message made of pieces. It reads from the one before, which must stay as long as this does."""

    __slots__ = ("_before", "_ends", "_pieces", "header_bytes", "size_bytes")

    def __init__(self, before: Read, pieces: Sequence[bytes | range], header_bytes: int) -> None:
        self._before = before
        self._pieces = [piece for piece in pieces if piece]
        self._ends = list(accumulate(len(piece) for piece in self._pieces))
        self.size_bytes = self._ends[-1] if self._ends else 0
        self.header_bytes = header_bytes
        """How many of them are the header, its empty line included."""

    def read(self, offset: int, length: int) -> bytes:
        """At most so many bytes from an offset on."""
        found = []
        index = bisect_right(self._ends, offset)
        while length > 0 and index < len(self._pieces):
            piece = self._pieces[index]
            at = offset - (self._ends[index] - len(piece))
            count = min(length, len(piece) - at)
            found.append(piece[at : at + count] if isinstance(piece, bytes) else self._before(piece.start + at, count))
            offset, length, index = offset + count, length - count, index + 1
        return b"".join(found)


def text_entity(text: bytes) -> bytes:
    """Plain text with its Content fields, as it is when every transport carries it so."""
    lines = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    body = b"\r\n".join(lines)
    body += b"" if body.endswith(b"\r\n") else b"\r\n"
    head = b"Content-Type: text/plain; charset=utf-8\r\n"
    if text.isascii() and b"\0" not in text and all(len(line) <= _LONGEST_LINE for line in lines):
        return head + b"Content-Transfer-Encoding: 7bit\r\n\r\n" + body
    encoded = base64.encodebytes(body).replace(b"\n", b"\r\n")
    return head + b"Content-Transfer-Encoding: base64\r\n\r\n" + encoded


def own_entity(entity: bytes) -> bytes:
    """A MIME entity of a script's own (RFC 5230 4.2): its Content fields and nothing else of its header."""
    entity = entity.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    end = header_end(entity)
    pieces = []
    for match in FIELD.finditer(entity, 0, end):
        name = match.group(1)
        if name is not None and _ENTITY_FIELD.match(name.lower()):
            pieces.append(match.group().rstrip(b"\r\n") + b"\r\n")
    body = entity[end:]
    return b"".join(pieces) + b"\r\n" + body + (b"" if body.endswith(b"\r\n") else b"\r\n")


def with_parts(message: Message, entities: Mapping[int, bytes]) -> Rewritten:
    """Parts (by their row, not the message itself) replaced by other entities; what is within a replaced one is gone."""
    table = message.parts
    pieces: list[bytes | range] = []
    position = 0
    for part in sorted((table.part(index) for index in entities), key=lambda part: (part.header_start, part.index)):
        if part.header_start < position:
            continue
        pieces += [range(position, part.header_start), entities[part.index].removesuffix(b"\r\n")]
        position = part.body_end
    pieces.append(range(position, message.size_bytes))
    return Rewritten(message.read, pieces, table.part(0).body_start if len(table) else message.size_bytes)


def replaced(head: bytes, entity: bytes, fields: Mapping[bytes, bytes]) -> Rewritten:
    """Everything but the header replaced by an entity. `fields` (lower-case name to rendered field) take the place of others."""
    gone = {b"mime-version", *fields}
    kept = [raw for name, raw in _fields(head) if name not in gone and not name.startswith(b"content-")]
    top = b"".join((*kept, *fields.values(), b"MIME-Version: 1.0\r\n"))
    return Rewritten(_nothing, [top + entity], len(top) + header_end(entity))


def enclosed(
    head: bytes, message: Message, text: bytes, names: Sequence[str], fields: Mapping[bytes, bytes]
) -> Rewritten:
    """A new message with a text and the whole old one, whose header is `head` by now. RFC 5703 6.

    `names`: fields copied from it; `fields` are rendered ones for the new header, by lower-case name.
    """
    wanted = {name.lower().encode("utf-8", "surrogateescape") for name in names} | {b"subject"}
    if b"subject" in fields:
        wanted.remove(b"subject")
    kept = [
        (name, raw)
        for name, raw in _fields(head)
        if name in wanted and name != b"mime-version" and not name.startswith(b"content-")
    ]
    present = {name for name, _ in kept}
    kept += [each for each in fields.items() if each[0] not in present]
    boundary = secrets.token_hex(16).encode()
    top = b"".join(
        (
            *(raw for _, raw in kept),
            b"MIME-Version: 1.0\r\n",
            b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\r\n',
            b"Content-Transfer-Encoding: 8bit\r\n\r\n",
        )
    )
    start = b"--" + boundary + b"\r\n" + text_entity(text) + b"\r\n--" + boundary + b"\r\n"
    start += b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + head
    body = message.parts.part(0).body_start if len(message.parts) else message.size_bytes
    end = b"\r\n--" + boundary + b"--\r\n"
    return Rewritten(message.read, [top + start, range(body, message.size_bytes), end], len(top))


def _fields(head: bytes) -> Sequence[tuple[bytes, bytes]]:
    """(lower-case name, raw field with its line end)."""
    return [(field.key, head[field.start : field.end].rstrip(b"\r\n") + b"\r\n") for field in Header.parse(head).fields]


def _nothing(offset: int, length: int) -> bytes:
    return b""
