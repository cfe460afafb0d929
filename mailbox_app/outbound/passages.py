"""Leave to go to a host, asked for before anything costs time: its breaker and its pace must let the message through.

A delivery asks for each host (`enter`) and says what came of it (`Visit.note`, `Visit.greeted`, `Visit.end`). When all hosts of a
destination are passed over, `put_off` tells until when and takes the destination's other waiting mail along, so that
thousands of messages to a dead host cost one statement and not thousands of tries. What is about to expire is never
passed over: its last try is a real one.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import MailboxError
from mailbox_app.mailauth.organizations import listed_organization
from mailbox_app.mailqueue.destinations.breakers import Breakers, Passage, Refusal
from mailbox_app.mailqueue.destinations.pace import Pace
from mailbox_app.mailqueue.model import Lease
from mailbox_app.mailqueue.schedule import LAST_TRY_BEFORE_EXPIRY, is_last_chance
from mailbox_app.outbound.next_hop import MailHost
from mailbox_app.outbound.smtp_client import HostTrouble

_SPREAD_SECONDS = 5.0
_AGAIN_SECONDS = 10.0
"""A destination's mail is put off as a whole at most so often; single messages in between go alone."""
_MAX_DESTINATIONS = 20_000


class Waiting(Protocol):
    """The waiting mail of a destination; the queue's backend."""

    def postpone(
        self,
        destination: str,
        until: datetime,
        reason: str,
        *,
        route: str = "",
        gap_seconds: float,
        most_seconds: float,
    ) -> int:
        """See `QueueBackend`."""
        ...


class Visit:
    """One host that a delivery may try."""

    def __init__(self, breakers: Breakers, passage: Passage, pace: Pace | None = None, provider: str = "") -> None:
        self._breakers = breakers
        self._passage = passage
        self._pace = pace
        self.provider = provider
        """Whose pace let it in; "" when none was asked."""
        self._was_greeted = False
        self._troubles: list[HostTrouble] = []

    def greeted(self) -> None:
        """One of its addresses is in order."""
        self._was_greeted = True

    def note(self, trouble: HostTrouble) -> None:
        """One of its addresses is not, or broke off."""
        self._troubles.append(trouble)
        self.answered(trouble.smtp_code, trouble.enhanced, trouble.public_text)

    def answered(self, code: int, enhanced: str, text: str) -> None:
        """What it said to a message or a recipient: it may be about our pace."""
        if self._pace is not None and code // 100 == 4:
            self._pace.heard(self.provider, code, enhanced, text)

    async def end(self) -> None:
        """Nothing more comes of this host: its breaker hears the verdict."""
        if self._pace is not None:
            self._pace.ended(self.provider)
        if self._was_greeted:
            await self._breakers.greeted(self._passage)
        elif self._troubles and all(each.unreachable for each in self._troubles):
            await self._breakers.failed(self._passage, self._troubles[-1].public_text)
        await self._breakers.end(self._passage)


class Passages:
    """For all deliveries of one process."""

    def __init__(
        self,
        breakers: Breakers,
        waiting: Waiting | None,
        offload: Offload,
        clock: Clock,
        chance: Callable[[], float] = random.random,
        pace: Pace | None = None,
    ) -> None:
        self._pace = pace
        self._breakers = breakers
        self._waiting = waiting
        self._offload = offload
        self._clock = clock
        self._chance = chance
        self._put_off: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._log = structlog.get_logger("outbound")

    async def enter(self, lease: Lease, host: MailHost, admitted: Collection[str] = ()) -> Visit | Refusal:
        """Whether the lease's message may try this host now. `admitted`: providers that it has been let in to already."""
        name = f"{host.name}:{host.port}"
        if is_last_chance(self._clock.now(), lease.message.expires_at):
            return Visit(self._breakers, Passage(name))
        destination = lease.message.recipients[0].destination
        found = await self._breakers.ask(name, destination)
        if isinstance(found, Refusal):
            return found
        if self._pace is None or host.trusted:  # routes have rates of their own
            return Visit(self._breakers, found)
        if self._pace.is_stale():
            await self._offload.run(self._pace.sync)
        provider = _provider(host.name)
        if provider in admitted:
            self._pace.again(provider)
            return Visit(self._breakers, found, self._pace, provider)
        wait = self._pace.admit(destination, provider, lease.message.envelope.priority)
        if wait is None:
            return Visit(self._breakers, found, self._pace, provider)
        await self._breakers.end(found)
        return Refusal(name, wait.until, wait.sentence, wait.gap_seconds, wait.most_seconds, "pace")

    async def put_off(
        self, lease: Lease, refusals: Sequence[Refusal], *, for_all: bool, route: str = ""
    ) -> tuple[datetime, str]:
        """When to look again and why not now, for recipients of a lease whose hosts were all passed over.

        `route` is what an operator chose for them, "" for none.
        `for_all`: the hosts do not depend on the message, so the destination's other mail waits as well.
        """
        first = min(refusals, key=lambda each: each.until)
        destination = lease.message.recipients[0].destination
        self._breakers.count_postponed(first.kind)
        if for_all and self._waiting is not None and self._is_news(destination, route):
            try:
                await self._offload.run(
                    self._waiting.postpone,
                    destination,
                    first.until + timedelta(seconds=first.gap_seconds),
                    first.sentence,
                    route=route,
                    gap_seconds=first.gap_seconds,
                    most_seconds=first.most_seconds,
                )
            except MailboxError as error:  # each message is then put off by itself
                self._log.warning("destination not put off", destination=destination, code=error.code)
        at = first.until + timedelta(seconds=0.0 if for_all else self._chance() * _SPREAD_SECONDS)
        return min(at, lease.message.expires_at - LAST_TRY_BEFORE_EXPIRY), first.sentence

    def _is_news(self, destination: str, route: str) -> bool:
        now = self._clock.monotonic_seconds()
        key = (destination, route)
        if self._put_off.get(key, float("-inf")) + _AGAIN_SECONDS > now:
            return False
        self._put_off[key] = now
        self._put_off.move_to_end(key)
        if len(self._put_off) > _MAX_DESTINATIONS:
            self._put_off.popitem(last=False)
        return True


def _provider(host: str) -> str:
    """The organisation that a mail server belongs to; an address stands for itself."""
    name = host.lower().rstrip(".")
    return name if name[-1:].isdigit() or ":" in name else listed_organization(name) or name
