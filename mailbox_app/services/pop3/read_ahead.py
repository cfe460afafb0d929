"""The next message, made ready while the last one is on its way: who fetches all of them asks for them one by one.

One message of one piece at most, and only for a session that asks in order. The service's sweep drops what nobody came
for, so an idle session keeps nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable


class ReadAhead:
    """What one session has made ready; the loop's thread only."""

    __slots__ = ("_index", "_last", "_piece", "_ready_at")

    def __init__(self) -> None:
        self._last = -1
        self._index = -1
        self._ready_at = 0.0
        self._piece: asyncio.Future[tuple[bytes, bool]] | None = None

    def asked_for(self, index: int) -> bool:
        """Note which message is asked for; whether the one behind it is likely to be next."""
        in_order = index == self._last + 1
        self._last = index
        return in_order

    def begin(self, index: int, work: Awaitable[tuple[bytes, bool]], now: float) -> None:
        """Keep what becomes of the work: the only piece of the message at this place."""
        self._index = index
        self._ready_at = now
        self._piece = asyncio.ensure_future(work)
        self._piece.add_done_callback(_note_exception)

    async def take(self, index: int) -> bytes | None:
        """The message, when it was made ready and nothing went wrong."""
        piece, self._piece = self._piece, None
        if piece is None or index != self._index:
            return None
        await asyncio.wait([piece])
        return None if piece.cancelled() or piece.exception() is not None else piece.result()[0]

    def drop_older_than(self, at: float) -> None:
        """Forget what waited for too long."""
        if self._piece is not None and self._ready_at < at:
            self._piece = None


def _note_exception(done: asyncio.Future[tuple[bytes, bool]]) -> None:
    """Nobody may come for it: trouble is told when the message is asked for and read again."""
    if not done.cancelled():
        done.exception()
