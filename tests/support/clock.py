"""A clock that stands still until told, and wakes its sleepers in order."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime


class FakeClock:
    """Starts at 2026-01-05 10:00 UTC. `advance` moves time and lets every sleeper whose time has come run."""

    def __init__(self, start: datetime = datetime(2026, 1, 5, 10, tzinfo=UTC)) -> None:
        self._start = start.timestamp()
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.epoch_seconds(), UTC)

    def epoch_seconds(self) -> float:
        return self._start + self._elapsed

    def monotonic_seconds(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._elapsed + seconds, self._count, woken))
        await woken

    def next_wake_seconds(self) -> float | None:
        """Until the next sleeper's time; None when nobody sleeps."""
        return max(0.0, self._sleepers[0][0] - self._elapsed) if self._sleepers else None

    def skip(self, seconds: float) -> None:
        """Move time without waking anybody: for synchronous code."""
        self._elapsed += seconds

    async def advance(self, seconds: float) -> None:
        """Move time forward step by step, running each sleeper at its own moment."""
        end = self._elapsed + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, woken = heapq.heappop(self._sleepers)
            self._elapsed = max(self._elapsed, at)
            if not woken.done():
                woken.set_result(None)
            await settle()
        self._elapsed = end
        await settle()


async def settle(turns: int = 20) -> None:
    """Let everything that is ready run."""
    for _ in range(turns):
        await asyncio.sleep(0)
