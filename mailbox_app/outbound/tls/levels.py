"""The memory of how well each domain takes mail, so that nobody on the way can quietly take encryption away.

A domain that was encrypted on at least three days without a gap is expected to be so: when a host offers it no more, mail
waits, for `delivery.tls_downgrade_hold` at most; then it goes in clear with a warning and the memory begins anew. A domain
whose TLS is offered but always fails gets mail in clear only when `delivery.plain_after_tls_failure` allows that, after that
long and three failures at least. One row is written a day and domain; failures beyond that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import MailboxError
from mailbox_app.outbound.tls.memory import DomainLevel, Level, TlsMemory

DAYS = 3
"""Seen encrypted on so many days, a domain is expected to be."""
FAILURES = 3
_DAY_SECONDS = 86_400
_FAILURE_STEP_SECONDS = 300.0
"""Attempts closer together count as one: many messages to one domain fail together."""
_STALE_DAYS = 60
"""Without mail for so long, nothing is expected any more."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """Whether mail may go in clear now; if not, until when it waits."""

    holds_until_seconds: float = 0.0
    since_seconds: float = 0.0


def expectation(row: DomainLevel, now: float, hold_seconds: float) -> Expectation | None:
    """None: nothing is expected of the domain, or it has been waited for long enough."""
    if not hold_seconds or row.level is Level.CLEAR or row.days < DAYS:
        return None
    if int(now // _DAY_SECONDS) - row.last_day > _STALE_DAYS:
        return None
    until = (row.missing_since_seconds or now) + hold_seconds
    return Expectation(until, row.since_seconds) if now < until else None


class TlsLevels:
    """Keeps the memory up to date; lives on the loop. Its own trouble is logged and holds nothing up."""

    def __init__(
        self, memory: TlsMemory, offload: Offload, clock: Clock, *, hold_seconds: float, plain_after_seconds: float
    ) -> None:
        """`hold_seconds` 0: no mail waits; `plain_after_seconds` 0: failing TLS never leads to clear."""
        self._memory = memory
        self._offload = offload
        self._clock = clock
        self._hold_seconds = hold_seconds
        self._plain_after_seconds = plain_after_seconds
        self._log = structlog.get_logger("outbound")

    async def current(self, domain: str) -> DomainLevel:
        """What is known now."""
        kept = self._memory.kept(domain)
        if kept is not None:
            return kept.level
        try:
            return (await self._offload.run(self._memory.load, domain)).level
        except MailboxError as error:
            self._log.warning("tls_level_not_read", domain=domain, reason=str(error))
            return DomainLevel(domain)

    async def encrypted(self, domain: str, level: Level) -> None:
        """A session became encrypted."""
        row, now = await self.current(domain), self._clock.epoch_seconds()
        today = int(now // _DAY_SECONDS)
        settled = not row.failing_since_seconds and not row.missing_since_seconds
        if settled and row.last_day == today and row.level is level:
            return
        new_day = row.last_day != today or row.level is Level.CLEAR
        await self._put(
            replace(
                row,
                level=level,
                since_seconds=row.since_seconds or now,
                days=row.days + 1 if new_day else row.days,
                last_day=today,
                missing_since_seconds=0.0,
                failing_since_seconds=0.0,
                failures=0,
                failure="",
            )
        )

    async def missing(self, domain: str) -> Expectation | None:
        """A host offers no encryption: an expectation when the message must wait for it, None when it may go in clear."""
        row, now = await self.current(domain), self._clock.epoch_seconds()
        held = expectation(row, now, self._hold_seconds)
        if held is not None and not row.missing_since_seconds:
            await self._put(replace(row, missing_since_seconds=now))
        return held

    async def went_in_clear(self, domain: str) -> None:
        """A message may have gone in clear: nothing is expected any more."""
        row = await self.current(domain)
        if row.level is Level.CLEAR and not row.days:
            return
        if row.missing_since_seconds:
            self._log.warning("tls_downgrade_accepted", domain=domain, days_encrypted=row.days)
        today = int(self._clock.epoch_seconds() // _DAY_SECONDS)
        fresh = replace(row, level=Level.CLEAR, since_seconds=0.0, days=0, last_day=today, missing_since_seconds=0.0)
        await self._put(fresh)

    async def failed(self, domain: str, text: str) -> bool:
        """TLS with a host failed; whether the message may now go in clear."""
        row, now = await self.current(domain), self._clock.epoch_seconds()
        if now - row.failed_at_seconds >= _FAILURE_STEP_SECONDS or not row.failing_since_seconds:
            row = replace(
                row,
                failing_since_seconds=row.failing_since_seconds or now,
                failures=row.failures + 1,
                failure=text[:300],
                failed_at_seconds=now,
                last_day=row.last_day or int(now // _DAY_SECONDS),
            )
            await self._put(row)
        long = now - row.failing_since_seconds >= self._plain_after_seconds > 0
        return long and row.failures >= FAILURES

    async def _put(self, row: DomainLevel) -> None:
        try:
            await self._offload.run(self._memory.put_level, row)
        except MailboxError as error:
            self._log.warning("tls_level_not_kept", domain=row.domain, reason=str(error))
