"""The content of DATA out of chunks of any size, at the speed of bytes.find, count and replace.

The only end of data is CRLF.CRLF, on the wire as it stands: no other line ending ever ends a message or a line, so
nothing can be smuggled past a peer that reads them differently. A bare CR, a bare LF or a NUL is a `fault`: content is
dropped from there on, but the stream is still read to its true end.
"""

from __future__ import annotations

_END = b"\r\n.\r\n"


def line_fault(data: bytes) -> str:
    """What breaks the rules in whole lines or parts of them (a CR at the very end counts as bare): "" or words for a reply."""
    pairs = data.count(b"\r\n")
    if data.count(b"\r") != pairs:
        return "a bare CR"  # RFC 5321 2.3.8
    if data.count(b"\n") != pairs:
        return "a bare LF"
    if b"\0" in data:
        return "a NUL"  # RFC 5321 4.5.2, RFC 5322 4
    return ""


class DotStream:
    """`feed` chunks until `done`; what came after the end is `rest`."""

    __slots__ = ("_begun", "_carry", "done", "fault", "rest")

    def __init__(self) -> None:
        # As if a line had just ended: a dot at the very beginning counts like any other. RFC 5321 4.5.2
        self._carry = b"\r\n"
        self._begun = False
        self.done = False
        self.fault = ""
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """The content that is certain by now, without stuffed dots; b"" once there is a fault."""
        data = self._carry + data
        end = data.find(_END)
        if end >= 0:
            self.done = True
            self.rest = data[end + 5 :]
            content = data[: end + 2]
        else:
            keep = _undecided(data)
            self._carry = data[len(data) - keep :]
            content = data[: len(data) - keep] if keep else data
        if self.fault or not content:
            return b""
        self.fault = line_fault(content)
        if self.fault:
            return b""
        content = content.replace(b"\r\n.", b"\r\n")
        if self._begun:
            return content
        self._begun = True
        return content[2:]


def _undecided(data: bytes) -> int:
    """How many bytes at the end may be the beginning of the end, or of a stuffed dot."""
    if data.endswith(b"\r"):
        return 4 if data.endswith(b"\r\n.\r") else 1
    if data.endswith(b"\r\n."):
        return 3
    return 2 if data.endswith(b"\r\n") else 0


class LineEndings:
    """The same check for content that comes counted (BDAT): `feed` all of it, then `finish`."""

    __slots__ = ("_cr", "fault")

    def __init__(self) -> None:
        self._cr = False
        self.fault = ""

    def feed(self, data: bytes) -> None:
        """One chunk, cut anywhere."""
        if self.fault or not data:
            return
        if self._cr:
            data = b"\r" + data
        self._cr = data.endswith(b"\r")
        self.fault = line_fault(data[:-1] if self._cr else data)

    def finish(self) -> None:
        """No more data: a CR that still waits for its LF is bare."""
        if self._cr and not self.fault:
            self.fault = "a bare CR"


def stuff(content: bytes) -> bytes:
    """The wire form of a whole content, with stuffed dots and the end of data."""
    stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
    return stuffed + (b".\r\n" if not content or content.endswith(b"\r\n") else _END)
