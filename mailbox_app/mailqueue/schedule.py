"""When to try again, and when to give up. Pure: time and chance come in.

The delays grow from five minutes to a day, each spread by a tenth either way so that messages deferred together do not
come back together. Usually there are 15 tries within a message's seven days; no try is planned after the expiry, and the last one
is drawn back to just before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailbox_app.config.load import seconds
from mailbox_app.config.schema import Queue

LIFETIME = timedelta(days=7)
MAX_ATTEMPTS = 15
DELAYS_SECONDS = (300, 900, 1800, 3600, 7200, 14400, 28800, 57600, 86400)
"""After the first, second, ... try; the last one repeats."""

_JITTER = 0.1
LAST_TRY_BEFORE_EXPIRY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The usual one, or an operator's."""

    delays_seconds: Sequence[float] = DELAYS_SECONDS
    max_attempts: int = MAX_ATTEMPTS

    def next_attempt_at(self, attempts: int, now: datetime, expires_at: datetime, chance: float) -> datetime | None:
        """When to try again after `attempts` tries (at least 1), or None: give up.

        `chance` in [0, 1) places the delay within its spread.
        """
        last_at = expires_at - LAST_TRY_BEFORE_EXPIRY
        if attempts >= self.max_attempts or now >= last_at:
            return None
        delay = self.delays_seconds[min(max(attempts, 1), len(self.delays_seconds)) - 1]
        spread = 1 - _JITTER + 2 * _JITTER * chance
        return min(now + timedelta(seconds=delay * spread), last_at)


next_attempt_at = Schedule().next_attempt_at


def schedule_of(config: Queue) -> Schedule:
    """The one that the configuration asks for."""
    return Schedule(tuple(max(1, seconds(each)) for each in config.retry_delays), config.max_attempts)


def is_last_chance(now: datetime, expires_at: datetime) -> bool:
    """Whether nothing is put off any more: what comes now is tried, whatever is known of its hosts."""
    return now >= expires_at - LAST_TRY_BEFORE_EXPIRY
