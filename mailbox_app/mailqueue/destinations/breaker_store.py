"""Where breakers are kept, for all processes (and nodes) that deliver: the seam, and its form in `state.db`.

A breaker is read, changed by a pure step and written in one go, so that two processes never both get the one probe. Losing all of
it costs five failed connections per dead host and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.sqlite import Database
from mailbox_app.errors import StoreError
from mailbox_app.mailqueue.destinations.breaker import Breaker, Condition, give_back

MAX_BREAKERS = 20_000
KEPT_SECONDS = 7 * 86_400.0
"""What nobody failed at for so long is forgotten."""
_CLEAN_EVERY = 500

Step = Callable[[Breaker], Breaker]


class BreakerStore(Protocol):
    """Breakers by host. Both calls block; trouble is a temporary `MailboxError`."""

    def change(self, host: str, step: Step) -> tuple[Breaker, Breaker]:
        """Take one step with a host's breaker (a fresh closed one when there is none), atomically; before and after.

        `step` is pure and may be called again when somebody else was quicker. A closed breaker without failures is forgotten.
        """
        ...

    def all(self) -> Sequence[Breaker]:
        """Every breaker that is not closed or has failures; at most `MAX_BREAKERS`."""
        ...


class SqliteBreakerStore:
    """In `state.db`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._changes = 0

    def change(self, host: str, step: Step) -> tuple[Breaker, Breaker]:
        """See `BreakerStore`."""
        with self._database.transaction(durable=False) as connection:
            row = connection.execute("SELECT body FROM breakers WHERE host = ?", (host,)).fetchone()
            before = Breaker(host) if row is None else decode(row[0], host)
            after = step(before)
            if is_clean(after):
                connection.execute("DELETE FROM breakers WHERE host = ?", (host,))
            elif after != before:
                now = self._clock.epoch_seconds()
                connection.execute(
                    "INSERT OR REPLACE INTO breakers (host, changed_at_seconds, body) VALUES (?, ?, ?)",
                    (host, now, encode(after)),
                )
                self._changes += 1
                if self._changes % _CLEAN_EVERY == 1:
                    connection.execute("DELETE FROM breakers WHERE changed_at_seconds < ?", (now - KEPT_SECONDS,))
                    connection.execute(
                        "DELETE FROM breakers WHERE host IN (SELECT host FROM breakers ORDER BY changed_at_seconds DESC"
                        " LIMIT -1 OFFSET ?)",
                        (MAX_BREAKERS,),
                    )
        return before, after

    def free_probes(self) -> None:
        """At the start of the machine's only delivering process: whoever probed is no more."""
        try:
            for each in self.all():
                if each.probe:
                    self.change(each.host, lambda old: give_back(old, old.probe))
        except StoreError as error:  # they run out by themselves
            structlog.get_logger("breaker").warning("probes_not_freed", code=error.code)

    def all(self) -> Sequence[Breaker]:
        """See `BreakerStore`."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT host, body FROM breakers ORDER BY changed_at_seconds DESC LIMIT ?", (MAX_BREAKERS,)
            ).fetchall()
        return [decode(body, host) for host, body in rows]


def is_clean(breaker: Breaker) -> bool:
    """Whether there is nothing to remember of it."""
    return breaker.condition is Condition.CLOSED and not breaker.failures


def encode(breaker: Breaker) -> bytes:
    """For a store."""
    return msgspec.json.encode(breaker)


def decode(body: bytes, host: str) -> Breaker:
    """What `encode` made; a fresh one when another version wrote what this one does not know."""
    try:
        return msgspec.json.decode(body, type=Breaker)
    except msgspec.MsgspecError:
        return Breaker(host)


class MemoryBreakerStore:
    """For one process alone, and for as long as it lives."""

    def __init__(self) -> None:
        self._breakers: dict[str, Breaker] = {}
        self._lock = threading.Lock()

    def change(self, host: str, step: Step) -> tuple[Breaker, Breaker]:
        """See `BreakerStore`."""
        with self._lock:
            before = self._breakers.get(host, Breaker(host))
            after = step(before)
            if is_clean(after):
                self._breakers.pop(host, None)
            elif host in self._breakers or len(self._breakers) < MAX_BREAKERS:
                self._breakers[host] = after
            return before, after

    def all(self) -> Sequence[Breaker]:
        """See `BreakerStore`."""
        with self._lock:
            return list(self._breakers.values())
