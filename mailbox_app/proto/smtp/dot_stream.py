"""The content of DATA out of chunks of any size, at the speed of bytes.find, count and replace.

The only end of data is CRLF.CRLF, on the wire as it stands: no other line ending ever ends a message or a line, so
nothing can be smuggled past a peer that reads them differently. A bare CR, a bare LF or a NUL is a `fault`: content is
dropped from there on, but the stream is still read to its true end. With `repair` a bare CR or LF is made a line end instead,
once the end of data is found and stuffed dots are undone by the strict rule.
"""

from __future__ import annotations

from mailbox_app.proto.smtp.line_repair import LineRepair, with_whole_line_ends

_END = b"\r\n.\r\n"


def line_fault(data: bytes) -> str:
    """What breaks the rules in whole lines or parts of them (a CR at the very end counts as bare): "" or words for a reply."""
    pairs = data.count(b"\r\n")
    if data.count(b"\r") != pairs:
        return "a bare CR"  # RFC 5321 2.3.8
    if data.count(b"\n") != pairs:
        return "a bare LF"
    return _nul(data)


def _nul(data: bytes) -> str:
    return "a NUL" if b"\0" in data else ""  # RFC 5321 4.5.2, RFC 5322 4


class DotStream:
    """`feed` chunks until `done`; what came after the end is `rest`."""

    __slots__ = ("_begun", "_carry", "_repair", "done", "fault", "rest")

    def __init__(self, *, repair: bool = False) -> None:
        self._repair = repair
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
        self.fault = _nul(content) if self._repair else line_fault(content)
        if self.fault:
            return b""
        content = content.replace(b"\r\n.", b"\r\n")
        if self._repair:  # `_undecided` never cuts a CR LF in two
            content = with_whole_line_ends(content)
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

    __slots__ = ("_cr", "_repair", "fault")

    def __init__(self, *, repair: bool = False) -> None:
        self._cr = False
        self._repair = LineRepair() if repair else None
        self.fault = ""

    def feed(self, data: bytes) -> bytes:
        """One chunk, cut anywhere; the content to keep, b"" once there is a fault."""
        if self.fault or not data:
            return b""
        if self._repair is not None:
            self.fault = _nul(data)
            return b"" if self.fault else self._repair.chunk(data)
        looked_at = b"\r" + data if self._cr else data
        self._cr = data.endswith(b"\r")
        self.fault = line_fault(looked_at[:-1] if self._cr else looked_at)
        return b"" if self.fault else data

    def finish(self) -> bytes:
        """No more data: a CR that still waits for its LF is bare. What is to be kept behind the rest."""
        if self._repair is not None:
            return b"" if self.fault else self._repair.end()
        if self._cr and not self.fault:
            self.fault = "a bare CR"
        return b""


def stuff(content: bytes) -> bytes:
    """The wire form of a whole content, with stuffed dots and the end of data."""
    stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
    return stuffed + (b".\r\n" if not content or content.endswith(b"\r\n") else _END)
