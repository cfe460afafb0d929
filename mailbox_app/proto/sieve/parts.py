"""MIME parts as tests see them: their headers, what a MIME field says, their text. RFC 5703, RFC 5173."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from mailbox_app.proto.header import Header, decode_text, decode_words
from mailbox_app.proto.mime import Part
from mailbox_app.proto.parameters import parse_parameters
from mailbox_app.proto.sieve.values import tidy
from mailbox_app.proto.text.charsets import decoder
from mailbox_app.proto.text.html_text import HtmlText
from mailbox_app.proto.text.message import content_of, read_header
from mailbox_app.proto.transfer_decoding import transfer_decoder

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.machine import Machine

_PIECE_BYTES = 1 << 16
_XHTML = b"application/xhtml+xml"


def header_of(machine: Machine, index: int) -> Header:
    """The header of a part, read once."""
    header = machine.headers.get(index)
    if header is None:
        message = machine.context.message
        if index == 0:
            header = message.header
        else:
            raw = read_header(message.read, message.parts.part(index))
            machine.spend(1 + (len(raw) >> 9))
            header = Header.parse(raw)
        machine.headers[index] = header
    return header


def sections_below(machine: Machine, index: int, *, deep: bool) -> Sequence[int]:
    """A part and, when `deep`, all parts within it, in the order of the message."""
    if not deep:
        return (index,)
    table = machine.context.message.parts
    found = [index]
    inside = {index}
    for other in range(index + 1, min(len(table), machine.limits.parts)):
        parent = table.parent(table.part(other))
        if parent is not None and parent.index in inside:
            inside.add(other)
            found.append(other)
    machine.spend(len(table) >> 3)
    return found


def mime_value(name: str, raw: bytes, what: str, parameters: Sequence[str]) -> Sequence[str]:
    """What `:type`, `:subtype`, `:contenttype` or `:param` want of a field's value. RFC 5703 4.2."""
    main, given = parse_parameters(raw)
    if what == "param":
        wanted = {parameter.lower() for parameter in parameters}
        found = []
        for key, value in given:
            plain = key.decode("latin-1")
            if plain.removesuffix("*") in wanted:
                found.append(_extended(value) if plain.endswith("*") else decode_words(value))
        return found
    text = decode_words(main)
    if name.lower() == "content-type" and what != "contenttype":
        major, _, minor = text.partition("/")
        return (major.strip() if what == "type" else minor.strip(),)
    return ("",) if what == "subtype" else (text,)


def _extended(value: bytes) -> str:
    """RFC 2231 4: charset'language'percent-encoded."""
    charset, _, rest = value.partition(b"'")
    return decode_text(unquote_to_bytes(rest.partition(b"'")[2]), charset.decode("latin-1"))


def is_text(part: Part) -> bool:
    """Whether people can read it: a text type, in an encoding that is known (RFC 2045 6.4: any other is opaque)."""
    readable = part.content_type.startswith(b"text/") or part.content_type == _XHTML
    return readable and transfer_decoder(part.encoding) is not None


def raw_text(machine: Machine, start: int, end: int) -> str:
    """Bytes of the message as they are, the beginning when there are too many."""
    length = min(max(end - start, 0), machine.limits.body_bytes)
    machine.spend(length >> 9)
    data = machine.context.message.read(start, length)
    return data.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\n", "\r\n")


def part_text(machine: Machine, part: Part, *, html_as_text: bool) -> str:
    """The body of a part decoded to text; HTML without its markup when asked for."""
    header = header_of(machine, part.index)
    content = content_of(header)
    charset = next((value.decode("latin-1") for name, value in content.parameters if name == b"charset"), "")
    transfer = transfer_decoder(part.encoding) or transfer_decoder(b"binary")
    assert transfer is not None
    decode = decoder(charset if part.content_type.startswith(b"text/") or part.content_type == _XHTML else "").decode
    html = HtmlText() if html_as_text and part.content_type in (b"text/html", _XHTML) else None
    position, end = part.body_start, min(part.body_end, part.body_start + machine.limits.body_bytes)
    pieces: list[str] = []
    while True:
        piece = machine.context.message.read(position, min(_PIECE_BYTES, end - position)) if position < end else b""
        machine.spend(1 + (len(piece) >> 9))
        position += len(piece)
        final = not piece or position >= end
        data = transfer.feed(piece)
        text = decode(data + transfer.finish() if final else data, final)
        pieces.append(html.feed(text, final) if html is not None else text)
        if final:
            return tidy("".join(pieces))
