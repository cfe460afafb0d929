"""Lines of a message that end with a lone CR or a lone LF get a whole line end: chunk by chunk, as they are cut.

For content of our own users, whose programs may know no better, and once more for everything that leaves: what other
servers make of other line ends is how a second message is smuggled into the first.
"""

from __future__ import annotations

import re

_ANY_END = re.compile(rb"\r\n?|\n")


class LineRepair:
    """Feed all chunks in order, then take the end."""

    __slots__ = ("_cr",)

    def __init__(self) -> None:
        self._cr = False

    def chunk(self, data: bytes) -> bytes:
        """The chunk with whole line ends; a CR at its end waits for what follows."""
        if not data:
            return data
        if self._cr:
            data = b"\r" + data
        self._cr = data.endswith(b"\r")
        if self._cr:
            data = data[:-1]
        return with_whole_line_ends(data)

    def end(self) -> bytes:
        """What still waited."""
        waited, self._cr = self._cr, False
        return b"\r\n" if waited else b""


def with_whole_line_ends(data: bytes) -> bytes:
    """The same for data that is whole, or was cut where no CR and LF belong together."""
    pairs = data.count(b"\r\n")
    if data.count(b"\r") != pairs or data.count(b"\n") != pairs:
        return _ANY_END.sub(b"\r\n", data)
    return data
