"""The only source of time, so that tests can own it.

`at` values are aware UTC datetimes; `seconds` are floats. Nothing else calls `time.time` or `asyncio.sleep` where
the answer matters to behaviour.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time, monotonic time and waiting."""

    def now(self) -> datetime:
        """The time as an aware UTC datetime."""
        ...

    def epoch_seconds(self) -> float:
        """The time as seconds since 1970."""
        ...

    def monotonic_seconds(self) -> float:
        """Seconds that never go back; for durations and deadlines."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The time as an aware UTC datetime."""
        return datetime.now(UTC)

    def epoch_seconds(self) -> float:
        """The time as seconds since 1970."""
        return time.time()

    def monotonic_seconds(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the running loop."""
        await asyncio.sleep(seconds)
