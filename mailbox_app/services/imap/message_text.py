"""Whether a message contains a text, decoded: transfer encodings and charsets undone piece by piece, case ignored.

What is searched: header fields with encoded words decoded, and the text parts. Other parts hold no text a person would
look for. Memory is a piece and its decoded form, whatever the size of the message.
"""

from __future__ import annotations

import binascii
import codecs
import os
import quopri
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from mailbox_app.proto.header import Header, decode_words
from mailbox_app.proto.mime import Part, PartTable
from mailbox_app.proto.parameters import parse_parameters

_READ_BYTES = 1 << 16
_HEADER_BYTES = 1 << 20
_BASE64_NOISE = b"\r\n\t "
_NOT_CHARSETS = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined"})


def header_string(block: bytes) -> str:
    """A header block as one searchable text in lower case."""
    return "\n".join(
        [f"{field.name.decode('latin-1')}: {decode_words(field.value)}" for field in Header.parse(block).fields]
    ).casefold()


class MessageText:
    """Searches one open message; blocks."""

    def __init__(self, opened: BinaryIO, table: PartTable) -> None:
        self._descriptor = opened.fileno()
        self._table = table

    def contains(self, needles: Sequence[str], *, body_only: bool) -> list[bool]:
        """For each case-folded text whether it is there; every part is decoded once for all of them."""
        found = [not needle for needle in needles]
        longest = max(map(len, needles), default=0)
        for text in self._texts(body_only=body_only, overlap=longest):
            for number, needle in enumerate(needles):
                if not found[number] and needle in text:
                    found[number] = True
            if all(found):
                break
        return found

    def _texts(self, *, body_only: bool, overlap: int) -> Iterator[str]:
        for index in range(len(self._table)):
            part = self._table.part(index)
            if index or not body_only:
                size = min(part.body_start - part.header_start, _HEADER_BYTES)
                header = os.pread(self._descriptor, size, part.header_start)
                yield header_string(header)
            if part.content_type.startswith(b"text/"):
                yield from self._body_texts(part, overlap)

    def _body_texts(self, part: Part, overlap: int) -> Iterator[str]:
        """The part's text in pieces that overlap, so that no match is cut in two."""
        undo = _transfer_decoder(part.encoding)
        charset = _charset_decoder(self._charset(part))
        tail = ""
        position = part.body_start
        while position < part.body_end:
            piece = os.pread(self._descriptor, min(_READ_BYTES, part.body_end - position), position)
            if not piece:
                break
            position += len(piece)
            final = position >= part.body_end
            text = tail + charset.decode(undo(piece, final), final).casefold()
            yield text.replace("\r\n", "\n") if "\r" in text else text
            tail = text[-overlap:] if overlap else ""

    def _charset(self, part: Part) -> str:
        size = min(part.body_start - part.header_start, _HEADER_BYTES)
        value = Header.parse(os.pread(self._descriptor, size, part.header_start)).first(b"content-type")
        for name, charset in parse_parameters(value)[1] if value else ():
            if name == b"charset":
                return charset.decode("ascii", "replace").lower()
        return "utf-8"


def _charset_decoder(charset: str) -> codecs.IncrementalDecoder:
    name = "utf-8" if charset in ("us-ascii", "ascii") or charset.replace("-", "_") in _NOT_CHARSETS else charset
    try:
        decoder = codecs.getincrementaldecoder(name)("replace")
        decoder.decode(b"")
    except (LookupError, TypeError, ValueError):
        return codecs.getincrementaldecoder("utf-8")("replace")
    return decoder if isinstance(decoder.decode(b""), str) else codecs.getincrementaldecoder("utf-8")("replace")


def _transfer_decoder(encoding: bytes) -> Callable[[bytes, bool], bytes]:
    if encoding == b"base64":
        return _Base64()
    if encoding == b"quoted-printable":
        return _QuotedPrintable()
    return _identity


def _identity(piece: bytes, final: bool) -> bytes:
    return piece


class _Base64:
    """Undoes base64 across piece borders; what is no base64 ends the part."""

    def __init__(self) -> None:
        self._rest = b""

    def __call__(self, piece: bytes, final: bool) -> bytes:
        data = self._rest + piece.translate(None, _BASE64_NOISE)
        if final:
            data += b"=" * (-len(data) % 4)
        whole = len(data) - len(data) % 4
        self._rest = data[whole:]
        try:
            return binascii.a2b_base64(data[:whole])
        except binascii.Error:
            return b""


class _QuotedPrintable:
    """Undoes quoted-printable line by line, so that no escape is cut in two; an endless line is taken as it comes."""

    def __init__(self) -> None:
        self._rest = b""

    def __call__(self, piece: bytes, final: bool) -> bytes:
        data = self._rest + piece
        end = data.rfind(b"\n") + 1
        if final or (not end and len(data) > _READ_BYTES):
            end = len(data)
        data, self._rest = data[:end], data[end:]
        return quopri.decodestring(data)
