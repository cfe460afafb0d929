"""One call for many sessions: fifty that watch one mailbox ask the store once when a message arrives.

Only calls asked for in the same turn of the loop are shared. So a shared call never began before a hint that one of its
askers has heard: nobody gets older news than by asking alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar, cast

T = TypeVar("T")


class Sharing:
    """The calls of this turn, by key; the loop's thread only."""

    def __init__(self) -> None:
        self._of_this_turn: dict[Hashable, asyncio.Future[object]] = {}

    async def call(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """The result of `make()`, or of what somebody else made for the key in this turn; so is its exception."""
        running = self._of_this_turn.get(key)
        if running is None:
            running = asyncio.ensure_future(cast("Awaitable[object]", make()))
            running.add_done_callback(_note_exception)
            self._of_this_turn[key] = running
            asyncio.get_running_loop().call_soon(self._of_this_turn.pop, key)
        return cast("T", await asyncio.shield(running))


def _note_exception(done: asyncio.Future[object]) -> None:
    """All askers may have gone away: an exception that nobody hears is no news for the log."""
    if not done.cancelled():
        done.exception()
