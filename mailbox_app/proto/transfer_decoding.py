"""Content transfer encodings undone in pieces: what a body means, in memory of one piece whatever its size.

Bad input never fails: what is no base64 is passed over, a broken escape stays as it is. Only an encoding nobody knows
has no decoder. How the body is cut into pieces makes no difference to the result.
"""

from __future__ import annotations

import binascii
import re
from typing import Protocol

_NOT_BASE64 = bytes(
    byte for byte in range(256) if not (chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "+/="))
)
# RFC 2045 6.7 (3): white space at a line's end was added on the way. Possessive: linear on any input.
_TRAILING_SPACE = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n|\Z)")
_LONGEST_LINE = 1 << 16
IDENTITY = frozenset({b"7bit", b"8bit", b"binary"})
"""Encodings that leave the bytes as they are."""


class TransferDecoder(Protocol):
    """Undoes one encoding."""

    def feed(self, piece: bytes) -> bytes:
        """What the next piece of the encoded body adds."""
        ...

    def finish(self) -> bytes:
        """What was still held back when the body ends."""
        ...


def transfer_decoder(encoding: bytes) -> TransferDecoder | None:
    """For a Content-Transfer-Encoding in lower case; None when nobody knows it."""
    if encoding == b"base64":
        return _Base64()
    if encoding == b"quoted-printable":
        return _QuotedPrintable()
    return _Identity() if encoding in IDENTITY else None


class _Identity:
    """7bit, 8bit, binary."""

    def feed(self, piece: bytes) -> bytes:
        return piece

    def finish(self) -> bytes:
        return b""


class _Base64:
    """Groups of four over piece borders; padding ends the body."""

    def __init__(self) -> None:
        self._rest = b""
        self._ended = False

    def feed(self, piece: bytes) -> bytes:
        if self._ended:
            return b""
        data = self._rest + piece.translate(None, _NOT_BASE64)
        padding = data.find(b"=")
        if padding >= 0:
            self._ended = True
            self._rest = b""
            return _unpadded(data[:padding])
        whole = len(data) & ~3
        self._rest = data[whole:]
        return binascii.a2b_base64(data[:whole])

    def finish(self) -> bytes:
        rest, self._rest = self._rest, b""
        return _unpadded(rest)


def _unpadded(data: bytes) -> bytes:
    """Base64 whose padding is missing; a lone last character means nothing."""
    if len(data) % 4 == 1:
        data = data[:-1]
    return binascii.a2b_base64(data + b"=" * (-len(data) % 4))


class _QuotedPrintable:
    """Whole lines only, so that no escape is cut in two; an endless line is cut where there is none."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> bytes:
        data = self._rest + piece
        end = data.rfind(b"\n") + 1
        if not end and len(data) > _LONGEST_LINE:
            end = data.rfind(b"=", len(data) - 3)
            end = len(data) if end < 0 else end
        self._rest = data[end:]
        return _unquoted(data[:end]) if end else b""

    def finish(self) -> bytes:
        rest, self._rest = self._rest, b""
        return _unquoted(rest)


def _unquoted(data: bytes) -> bytes:
    return binascii.a2b_qp(_TRAILING_SPACE.sub(b"", data))
