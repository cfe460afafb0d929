"""Transfer encodings undone piece by piece, tolerantly: RFC 2045 6.7 and 6.8."""

from __future__ import annotations

import binascii
from collections.abc import Callable

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOISE = bytes(sorted(set(range(256)) - set(_ALPHABET)))
_LONGEST_LINE = 65_536
"""What has no line end for so long is decoded as it comes."""

Undo = Callable[[bytes, bool], bytes]
"""(piece, whether it is the last) to decoded bytes."""


def undo(encoding: bytes) -> Undo:
    """A fresh decoder for a part with this Content-Transfer-Encoding (in lower case); unknown ones change nothing."""
    if encoding == b"base64":
        return _Base64()
    if encoding == b"quoted-printable":
        return _QuotedPrintable()
    return _identity


def _identity(piece: bytes, final: bool) -> bytes:
    return piece


class _Base64:
    """What is no base64 between the characters is passed over; padding ends a run, not the part."""

    def __init__(self) -> None:
        self._rest = b""

    def __call__(self, piece: bytes, final: bool) -> bytes:
        data = self._rest + piece.translate(None, _NOISE)
        whole = len(data) - len(data) % 4
        self._rest = data[whole:]
        data = data[:whole]
        if final and self._rest:
            data += self._rest + b"=" * (4 - len(self._rest))
        decoded = []
        for run in data.split(b"=") if b"=" in data else (data,):
            run = run[: len(run) - (len(run) % 4 == 1)]  # a lone character holds no byte
            decoded.append(binascii.a2b_base64(run + b"=" * (-len(run) % 4)))
        return b"".join(decoded)


class _QuotedPrintable:
    """Line by line, so that no escape is cut in two."""

    def __init__(self) -> None:
        self._rest = b""

    def __call__(self, piece: bytes, final: bool) -> bytes:
        data = self._rest + piece
        end = data.rfind(b"\n") + 1
        if final or (not end and len(data) > _LONGEST_LINE):
            end = len(data)
        data, self._rest = data[:end], data[end:]
        return binascii.a2b_qp(data)
