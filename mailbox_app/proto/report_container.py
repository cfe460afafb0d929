"""What reports are packed in: gzip, zip or nothing (RFC 9990 3.5.2, RFC 8460 3), unpacked piece by piece with hard bounds.

The bytes tell the form, not the name of the file. A small file that would grow without end stops at a size and at a ratio; of
a zip file the first members are read in order from their own headers, its directory is never trusted.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from mailbox_app.errors import ProtocolError

MAX_PACKED_BYTES = 16 * 1024 * 1024
MAX_UNPACKED_BYTES = 64 * 1024 * 1024
MAX_RATIO = 250
"""Honest reports reach 60; what a bomb needs is 1000."""
_FREE_BYTES = 1024 * 1024
"""So much is no bomb, whatever it came from."""
_PIECE_BYTES = 65_536
_MAX_MEMBERS = 8
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_GZIP_BITS, _RAW_BITS = 31, -15
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_ENCRYPTED, _SIZES_LATER = 0x1, 0x8
_STORED, _DEFLATED = 0, 8
_TEXT_STARTS = (b"<", b"{", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def _error(code: str, text: str) -> ProtocolError:
    return ProtocolError(f"report.{code}", text)


class _Bounds:
    """Counts what comes out."""

    def __init__(self, packed_bytes: int, max_bytes: int) -> None:
        self._most = min(max_bytes, max(_FREE_BYTES, packed_bytes * MAX_RATIO))
        self._count = 0

    def take(self, piece: bytes) -> bytes:
        self._count += len(piece)
        if self._count > self._most:
            raise _error("too_large", "the report is too large when it is unpacked")
        return piece


def pack_gzip(data: bytes) -> bytes:
    """The same bytes for the same report, whenever it is packed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, _GZIP_BITS)
    return packer.compress(data) + packer.flush()


def unpack(data: bytes, max_bytes: int = MAX_UNPACKED_BYTES) -> Iterator[bytes]:
    """The report's own bytes in pieces of at most 64 KiB; raises `ProtocolError` (`report.*`) at any point."""
    if len(data) > MAX_PACKED_BYTES:
        raise _error("too_large", "the attached file is too large for a report")
    bounds = _Bounds(len(data), max_bytes)
    if data.startswith(_GZIP):
        yield from _gzip(data, bounds)
    elif data.startswith(_ZIP):
        yield from _zip(data, bounds)
    else:
        for start in range(0, len(data), _PIECE_BYTES):
            yield bounds.take(data[start : start + _PIECE_BYTES])


def _gzip(data: bytes, bounds: _Bounds) -> Iterator[bytes]:
    """One member after the other; what follows the last one is ignored. RFC 1952 2.2."""
    rest = data
    for _ in range(_MAX_MEMBERS):
        unpacker = zlib.decompressobj(_GZIP_BITS)
        yield from _inflate(unpacker, rest, bounds)
        rest = unpacker.unused_data
        if not rest.startswith(_GZIP):
            return
    raise _error("broken", "the gzip file has too many parts")


def _inflate(unpacker: zlib._Decompress, data: bytes, bounds: _Bounds) -> Iterator[bytes]:
    waiting = data
    while not unpacker.eof:
        try:
            piece = unpacker.decompress(waiting, _PIECE_BYTES)
        except zlib.error as error:
            raise _error("broken", "the packed file is damaged") from error
        waiting = unpacker.unconsumed_tail
        if piece:
            yield bounds.take(piece)
        elif not waiting and not unpacker.eof:
            raise _error("broken", "the packed file is cut short")


def _zip(data: bytes, bounds: _Bounds) -> Iterator[bytes]:
    """The first member that can be a report."""
    offset = 0
    for _ in range(_MAX_MEMBERS):
        if data[offset : offset + 4] != _ZIP or len(data) < offset + _LOCAL_HEADER.size:
            break
        _, _, flags, method, _, _, _, packed, _, name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(data, offset)
        start = offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
        if flags & _ENCRYPTED or method not in (_STORED, _DEFLATED):
            raise _error("broken", "the zip file is encrypted or packed in an unknown way")
        if flags & _SIZES_LATER:
            if method == _STORED:
                raise _error("broken", "the zip file does not tell where its member ends")
            member = data[start:]
        else:
            member = data[start : start + packed]
        if pieces := _member(member, method, bounds):
            yield from pieces
            return
        if flags & _SIZES_LATER:
            break
        offset = start + packed
    raise _error("broken", "the zip file holds no report")


def _member(member: bytes, method: int, bounds: _Bounds) -> Iterator[bytes] | None:
    """The pieces of a member; None when it is something else than a report: a folder, a picture."""
    if not member:
        return None
    if method == _STORED:
        pieces = (member[start : start + _PIECE_BYTES] for start in range(0, len(member), _PIECE_BYTES))
        bounded: Iterator[bytes] = (bounds.take(piece) for piece in pieces)
    else:
        bounded = _counted(member, bounds)
    first = next(bounded, b"")
    if not first.lstrip(b" \t\r\n").startswith(_TEXT_STARTS):
        return None
    return _chain(first, bounded)


def _counted(member: bytes, bounds: _Bounds) -> Iterator[bytes]:
    yield from _inflate(zlib.decompressobj(_RAW_BITS), member, bounds)


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
