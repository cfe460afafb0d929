"""DKIM's canonical forms (RFC 6376 3.4), in constant memory and by whole-chunk operations.

One piece is worked on at a time and is at most 64 KiB, so another thread gets the interpreter after about a
millisecond; the hash itself runs without holding it. How a body is cut makes no difference.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import BinaryIO

PIECE_BYTES = 65_536

_BLANKS = re.compile(rb"[ \t]+")


def relaxed_field(name: bytes, value: bytes) -> bytes:
    """One header field in relaxed form, without the line end. RFC 6376 3.4.2."""
    value = value.replace(b"\r\n", b"").replace(b"\n", b"")
    return name.lower().rstrip(b" \t") + b":" + _BLANKS.sub(b" ", value).strip(b" \t\r")


def body_pieces(body: bytes | BinaryIO) -> Iterator[bytes]:
    """The body in pieces; a file is read from where it stands to its end."""
    if isinstance(body, bytes):
        for start in range(0, len(body), PIECE_BYTES):
            yield body[start : start + PIECE_BYTES]
        return
    while piece := body.read(PIECE_BYTES):
        yield piece


class BodyHash:
    """SHA-256 of a body in its simple or relaxed form, of at most `limit` canonical bytes (the l= tag)."""

    def __init__(self, *, relaxed: bool, limit: int | None = None) -> None:
        self._relaxed = relaxed
        self._hash = hashlib.sha256()
        self._left = limit
        self._held = b""  # the end of a piece that may still be part of a line end
        self._line_ends = 0  # complete ones not hashed yet: empty lines at the end do not count
        self._any = False

    def update(self, piece: bytes) -> None:
        """Read on; `piece` should not be much longer than `PIECE_BYTES`."""
        data = self._held + piece if self._held else piece
        if self._relaxed:
            data = self._without_blanks(data)
        elif data.endswith(b"\r"):
            data, self._held = data[:-1], b"\r"
        else:
            self._held = b""
        content = data.rstrip(b"\r\n")
        ends = data[len(content) :].replace(b"\r\n", b"\0")
        count = len(ends) - len(ends.rstrip(b"\0"))  # a bare CR or LF is content
        content = data[: len(data) - 2 * count]
        if content:
            self._flush_line_ends()
            self._add(content)
            self._line_ends = count
        else:
            self._line_ends += count

    def _without_blanks(self, data: bytes) -> bytes:
        """Runs of blanks become one, those before a line end none. Replacing is faster than any regular expression."""
        if b"\t" in data:
            data = data.replace(b"\t", b" ")
        while b"  " in data:
            data = data.replace(b"  ", b" ")
        self._held = b""
        if data.endswith(b"\r"):
            self._held = b" \r" if data.endswith(b" \r") else b"\r"
        elif data.endswith(b" "):
            self._held = b" "
        if self._held:
            data = data[: -len(self._held)]
        return data.replace(b" \r\n", b"\r\n")

    def _flush_line_ends(self) -> None:
        count = self._line_ends
        self._line_ends = 0
        while count > 0:
            self._add(b"\r\n" * min(count, PIECE_BYTES))
            count -= PIECE_BYTES

    def _add(self, data: bytes) -> None:
        self._any = True
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        self._hash.update(data)

    def digest(self) -> bytes:
        """The body has ended. A last line without its line end gets one, as it gets on the wire."""
        held = self._held.rstrip(b" ") if self._relaxed else self._held
        if held:
            self._flush_line_ends()
            self._add(self._held)
        # RFC 6376 3.4.3 and 3.4.4: an empty body is one line end in the simple form, nothing in the relaxed form
        if self._any or not self._relaxed:
            self._add(b"\r\n")
        return self._hash.digest()
