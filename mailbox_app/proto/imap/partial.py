"""A partial range: which of many results, counted from the first or from the last. RFC 9394 3.1; for SEARCH and for FETCH."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap.grammar import MAX_NUMBER, Cursor

_PARTIAL = re.compile(rb"(?:([1-9]\d{0,9}):([1-9]\d{0,9})|-([1-9]\d{0,9}):-([1-9]\d{0,9}))(?![\d:,])")


@dataclass(frozen=True, slots=True)
class Partial:
    """A window of the results: both from 1, counted from the end when `last`. RFC 9394 3.1"""

    low: int
    high: int
    last: bool
    text: str
    """As it was asked for."""

    def window(self, count: int) -> range:
        """The places of the window in `count` results."""
        if self.last:
            return range(max(0, count - self.high), max(0, count - self.low + 1))
        return range(min(count, self.low - 1), min(count, self.high))


def read_partial(cursor: Cursor) -> Partial:
    """A partial-range. RFC 9394 4"""
    match = _PARTIAL.match(cursor.data, cursor.pos)
    if match is None:
        raise cursor.fail("a range of results")
    cursor.pos = match.end()
    last = match[1] is None
    low, high = sorted(map(int, match.groups()[2:] if last else match.groups()[:2]))
    if high > MAX_NUMBER:
        raise ProtocolError("imap.syntax", "number too large")
    return Partial(low, high, last, match[0].decode("ascii") if last else f"{low}:{high}")
