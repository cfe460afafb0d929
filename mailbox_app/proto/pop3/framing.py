"""Cuts a POP3 byte stream into lines.

`feed` only stores; `next_line` gives a line without its end, `OVERLONG` once for a line beyond the limit (its rest is
skipped, never read as commands), or None when more bytes are needed. Memory is bounded by the limit plus one `feed`.
"""

from __future__ import annotations

from enum import Enum


class Overlong(Enum):
    """The one thing that comes in place of a line that is too long."""

    LINE = "line"


OVERLONG = Overlong.LINE


class LineFramer:
    """One connection's input side."""

    __slots__ = ("_buffer", "_scanned", "_skipping", "line_bytes")

    def __init__(self, line_bytes: int) -> None:
        self.line_bytes = line_bytes
        """The longest line without its end; may be changed between lines."""
        self._buffer = bytearray()
        self._scanned = 0
        self._skipping = False

    @property
    def buffered(self) -> int:
        """Bytes received and not yet given out."""
        return len(self._buffer)

    @property
    def within_command(self) -> bool:
        """Whether anything came that was not given out."""
        return bool(self._buffer) or self._skipping

    def feed(self, data: bytes) -> None:
        """Store what the peer sent."""
        self._buffer += data

    def next_line(self) -> bytes | Overlong | None:
        """The next line, or None when more bytes are needed."""
        end = self._buffer.find(b"\n", self._scanned)
        if self._skipping:
            if end < 0:
                self._buffer.clear()
                return None
            del self._buffer[: end + 1]
            self._skipping = False
            end = self._buffer.find(b"\n")
        if end < 0:
            self._scanned = len(self._buffer)
            if self._scanned <= self.line_bytes + 1:  # one more: the CR whose LF is still to come
                return None
            self._buffer.clear()
            self._scanned = 0
            self._skipping = True
            return OVERLONG
        self._scanned = 0
        # A bare LF ends a line too: some old clients send it, and no meaning hides behind it.
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        line = line.removesuffix(b"\r")
        return line if len(line) <= self.line_bytes else OVERLONG
