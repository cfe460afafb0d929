"""COMPRESS=DEFLATE between framer and transport, in bounded memory. RFC 4978.

What came in stays compressed until the framer wants more, and is then undone in pieces of `PIECE_BYTES`: a few bytes
that would become gigabytes cost no more memory than others. A session that waits keeps no compressor: a new one goes
on where the last block ended.
"""

from __future__ import annotations

import zlib

PIECE_BYTES = 65_536
_LEVEL = 5
_RAW = -15
"""RFC 4978 3: deflate without a header; the largest window."""


class CorruptStream(Exception):
    """What came is not what deflate makes."""


class Deflate:
    """Both directions of one connection."""

    __slots__ = ("_deflater", "_inflater", "_is_more", "_packed")

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(wbits=_RAW)
        self._deflater: zlib._Compress | None = None
        self._packed = b""
        self._is_more = False

    @property
    def waiting(self) -> bool:
        """Whether `unpack` may have more to give."""
        return self._is_more or bool(self._packed)

    @property
    def packed_bytes(self) -> int:
        """Compressed input that waits."""
        return len(self._packed)

    def take(self, data: bytes) -> None:
        """Keep what came."""
        self._packed += data

    def unpack(self) -> bytes:
        """The next piece of at most `PIECE_BYTES`."""
        try:
            piece = self._inflater.decompress(self._packed, PIECE_BYTES)
        except zlib.error as error:
            raise CorruptStream from error
        self._packed = self._inflater.unconsumed_tail
        self._is_more = len(piece) == PIECE_BYTES
        if self._inflater.eof:
            # A compressor may be ended and begun anew, as ours is by the client's own choice.
            self._packed = self._inflater.unused_data + self._packed
            self._inflater = zlib.decompressobj(wbits=_RAW)
            self._is_more = False
        return piece

    def pack(self, data: bytes) -> bytes:
        """The bytes to send, ended so that the peer can read all of them now."""
        if self._deflater is None:
            self._deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
        return self._deflater.compress(data) + self._deflater.flush(zlib.Z_SYNC_FLUSH)

    def rest(self) -> None:
        """Nothing is sent for a while: let the compressor's quarter of a megabyte go."""
        self._deflater = None
