"""A message with NULs in its binary parts as one without: those parts become base64. RFC 3516 4.4, RFC 2045 6.8."""

from __future__ import annotations

import binascii
import os
import re
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, cast

from mailbox_app.proto.header import Header
from mailbox_app.proto.message import MessageScanner
from mailbox_app.proto.mime import Part, PartTable
from mailbox_app.proto.transfer_decoding import IDENTITY
from mailbox_app.services.imap.bodies import read_range

_HEADER_BYTES = 1 << 20
_LINE_BYTES = 57
"""76 characters of base64. RFC 2045 6.8."""
_PIECE_BYTES = _LINE_BYTES * 4_096
_BINARY = re.compile(rb"binary", re.IGNORECASE)


def without_nul(source: BinaryIO, directory: str | None) -> BinaryIO | None:
    """The converted message in a new temporary file; None when a NUL is where it can mean nothing. Blocks."""
    descriptor = source.fileno()
    size = os.fstat(descriptor).st_size
    scanner = MessageScanner()
    for piece in read_range(descriptor, 0, size):
        scanner.feed(piece)
    table = PartTable.decode(scanner.finish().parts)
    target = cast("BinaryIO", tempfile.TemporaryFile(dir=directory))  # noqa: SIM115 - the caller's
    try:
        for piece in _converted(descriptor, size, table):
            if b"\0" in piece:
                target.close()
                return None
            target.write(piece)
        target.flush()
    except BaseException:
        target.close()
        raise
    return target


def _converted(descriptor: int, size: int, table: PartTable) -> Iterator[bytes]:
    """The message in pieces, each binary leaf as base64; what must not hold a NUL is passed on as it is."""
    position = 0
    for part in sorted((table.part(index) for index in range(len(table))), key=lambda part: part.header_start):
        encoded = _must_change(descriptor, part)
        names_binary = part.encoding == b"binary"
        if not encoded and not names_binary:
            continue
        yield from read_range(descriptor, position, part.header_start)
        header = os.pread(descriptor, min(part.body_start - part.header_start, _HEADER_BYTES), part.header_start)
        yield _with_encoding(header, b"base64" if encoded else b"8bit")
        yield from read_range(descriptor, part.header_start + len(header), part.body_start)
        position = part.body_start
        if encoded:
            for start in range(part.body_start, part.body_end, _PIECE_BYTES):
                piece = b"".join(read_range(descriptor, start, min(start + _PIECE_BYTES, part.body_end)))
                lines = [piece[at : at + _LINE_BYTES] for at in range(0, len(piece), _LINE_BYTES)]
                yield b"".join([binascii.b2a_base64(line, newline=False) + b"\r\n" for line in lines])
            position = part.body_end
    yield from read_range(descriptor, position, size)


def _must_change(descriptor: int, part: Part) -> bool:
    if part.is_multipart or part.is_message or part.encoding not in IDENTITY:
        return False
    return any(b"\0" in piece for piece in read_range(descriptor, part.body_start, part.body_end))


def _with_encoding(header: bytes, encoding: bytes) -> bytes:
    """The header block with this content transfer encoding."""
    for field in Header.parse(header).fields:
        if field.key == b"content-transfer-encoding":
            line = header[field.start : field.end]
            changed = _BINARY.sub(encoding, line, count=1)
            if changed == line:
                changed = b"Content-Transfer-Encoding: %b\r\n" % encoding
            return header[: field.start] + changed + header[field.end :]
    line_end = header.rfind(b"\r\n" if header.endswith(b"\r\n") else b"\n", 0, max(len(header) - 1, 0))
    place = 0 if line_end < 0 else line_end + (2 if header.endswith(b"\r\n") else 1)
    return header[:place] + b"Content-Transfer-Encoding: %b\r\n" % encoding + header[place:]
