"""A stored message as RETR and TOP send it: lines end with CR LF, dots at line starts are doubled. RFC 1939 3."""

from __future__ import annotations


class MessageText:
    """Feed the file's pieces in order until `done`, then take the end. Works on whole pieces, never line by line."""

    __slots__ = ("_at_line_start", "_held", "_in_header", "_lines", "done")

    def __init__(self, body_lines: int | None = None) -> None:
        self._lines = body_lines
        self._in_header = True
        self._at_line_start = True
        self._held = b""
        self.done = False
        """Whether TOP has all lines it was asked for; never for RETR."""

    def piece(self, data: bytes) -> bytes:
        """What the next piece of the file adds to the answer."""
        if self._held:
            data, self._held = self._held + data, b""
        if data.endswith(b"\r"):  # its LF may be the first byte of the next piece
            data, self._held = data[:-1], b"\r"
        # A file of another program may have bare LFs, of which a client would make one long line.
        if data.count(b"\n") != data.count(b"\r\n"):
            data = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        if self._lines is not None:
            data = self._top(data, self._lines)
        if not data:
            return data
        stuffed = data.replace(b"\n.", b"\n..")
        if self._at_line_start and data.startswith(b"."):
            stuffed = b"." + stuffed
        self._at_line_start = data.endswith(b"\n")
        return stuffed

    def end(self) -> bytes:
        """What is left and the line with the single dot, after a line end when the message lacks one."""
        return b".\r\n" if self._at_line_start and not self._held else self._held + b"\r\n.\r\n"

    def _top(self, data: bytes, wanted: int) -> bytes:
        """The part of the piece that belongs to the header, the empty line and the first lines of the body."""
        start = 0
        if self._in_header:
            if self._at_line_start and data.startswith(b"\r\n"):
                start = 2
            else:
                found = data.find(b"\r\n\r\n")
                if found < 0:
                    return data
                start = found + 4
            self._in_header = False
        if data.count(b"\n", start) < wanted:
            self._lines = wanted - data.count(b"\n", start)
            return data
        for _ in range(wanted):
            start = data.find(b"\n", start) + 1
        self.done = True
        self._held = b""
        return data[:start]
