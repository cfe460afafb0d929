"""A message as DATA sends it, chunk by chunk: dots at line starts doubled, the end marked. RFC 5321 4.5.2."""

from __future__ import annotations


class DotStuffer:
    """Feed the message's chunks in order, then take the end."""

    def __init__(self) -> None:
        self._last = b"\r\n"

    def chunk(self, data: bytes) -> bytes:
        """The chunk as it goes over the wire."""
        if not data:
            return data
        stuffed = data.replace(b"\n.", b"\n..")
        if data[:1] == b"." and self._last[-1:] == b"\n":
            stuffed = b"." + stuffed
        self._last = (self._last + data[-2:])[-2:]
        return stuffed

    def end(self) -> bytes:
        """The line with the single dot, after a line end when the message lacks one."""
        return b".\r\n" if self._last == b"\r\n" else b"\r\n.\r\n"
