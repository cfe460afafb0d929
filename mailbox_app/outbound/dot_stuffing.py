"""A message as DATA sends it, chunk by chunk: dots at line starts doubled, the end marked. RFC 5321 4.5.2.

Whatever the queue holds, no lone CR or LF and no NUL leaves: lines end with both, so that the next server cannot see another end of
the message than this one.
"""

from __future__ import annotations

from mailbox_app.proto.smtp.line_repair import LineRepair


class DotStuffer:
    """Feed the message's chunks in order, then take the end."""

    def __init__(self) -> None:
        self._last = b"\r\n"
        self._repair = LineRepair()

    def chunk(self, data: bytes) -> bytes:
        """The chunk as it goes over the wire; a CR at its end comes with what follows."""
        if b"\0" in data:  # some servers drop it, and would find dots at line starts that were none
            data = data.replace(b"\0", b"")
        return self._stuffed(self._repair.chunk(data))

    def _stuffed(self, data: bytes) -> bytes:
        if not data:
            return data
        stuffed = data.replace(b"\n.", b"\n..")
        if data[:1] == b"." and self._last[-1:] == b"\n":
            stuffed = b"." + stuffed
        self._last = (self._last + data[-2:])[-2:]
        return stuffed

    def end(self) -> bytes:
        """The line with the single dot, after a line end when the message lacks one."""
        held = self._stuffed(self._repair.end())
        return held + (b".\r\n" if self._last == b"\r\n" else b"\r\n.\r\n")
