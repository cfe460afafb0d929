"""Rows by number over a listing that only tells where its next page begins.

Each place told is remembered with the number of its first row, so a window that jumps walks at most from the nearest one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tui.models import rows_of

MOST_ROWS = 500
Ask = Callable[[str, int], Awaitable[dict[str, Any] | None]]


class KeysetRows:
    """`ask(before, limit)` gives one answer, whose rows are under `name` and whose `next` is null at the end."""

    def __init__(self, ask: Ask, name: str) -> None:
        self._ask = ask
        self._name = name
        self._places = {0: ""}
        self._walking = asyncio.Lock()

    def forget(self) -> None:
        """The listing begins anew."""
        self._places = {0: ""}

    async def rows(self, offset: int, limit: int) -> list[Mapping[str, Any]] | None:
        """Rows from a number on; None when the daemon refused, fewer than asked for at the end."""
        async with self._walking:
            places = self._places  # of this listing, also when it is forgotten meanwhile
            at = max(number for number in places if number <= offset)
            before = places[at]
            found: list[Mapping[str, Any]] = []
            while at < offset + limit:
                answer = await self._ask(before, min(MOST_ROWS, (offset if at < offset else offset + limit) - at))
                if answer is None:
                    return None
                rows = rows_of(answer, self._name)
                found += rows[max(0, offset - at) :]
                at += len(rows)
                before = str(answer.get("next") or "")
                if not before:
                    break
                places[at] = before
            return found
