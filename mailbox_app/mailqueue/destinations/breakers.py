"""Every host's breaker, as the deliveries of this process ask for them.

A host in good order costs a look into memory. Only failures, probes and what an operator does go to the store, which all nodes
share; what the others did is heard of every few seconds. A store in trouble leaves this process to its own memory: mail
goes on. Each change is one log line and, for opened and closed, a count.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import MailboxError
from mailbox_app.mailqueue.destinations import breaker as machine
from mailbox_app.mailqueue.destinations.breaker import Breaker, Condition
from mailbox_app.mailqueue.destinations.breaker_store import MAX_BREAKERS, BreakerStore, Step, is_clean
from mailbox_app.observe.metrics import Metrics, gauge_text
from mailbox_app.proto.plain_text import clean

_REFRESH_SECONDS = 5.0
_PROBE_RUNNING_SECONDS = 15.0
"""How long to wait for the probe's result before asking again."""
_SHOWN_CHARACTERS = 90
"""Of a failure in a sentence; the whole stands in the list of breakers."""
_STATES = {Condition.CLOSED: 0.0, Condition.HALF_OPEN: 1.0, Condition.OPEN: 2.0}
_TOLD = 100
_WAITING_HOSTS = 2_000
_WAITING_PER_HOST = 200
"""Destinations remembered per host, for an operator who wants a message of theirs to go now."""


@dataclass(slots=True)
class Passage:
    """Leave to connect to a host, given to one delivery: say `failed` or `greeted`, and `end` in any case."""

    host: str
    probe: str = ""
    """The token of a probe; "" for an ordinary passage."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a host is passed over, and until when."""

    host: str
    until: datetime
    sentence: str
    gap_seconds: float = 0.2
    """Between the messages that wait for it."""
    most_seconds: float = 60.0
    """After `until` for the last of them: so they come neither all at once nor much later."""
    kind: str = "breaker"
    """Or "pace": for the metrics."""


class Breakers:
    """All breakers; belongs to one loop."""

    def __init__(self, store: BreakerStore, offload: Offload, clock: Clock, metrics: Metrics) -> None:
        self._store = store
        self._offload = offload
        self._clock = clock
        self._metrics = metrics
        self._known: dict[str, Breaker] = {}
        """Those that are not clean."""
        self._waiting: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()
        self._lock = asyncio.Lock()
        self._refreshed_seconds = float("-inf")
        self._has_heard = False
        """Whether the store was asked since the start: until then nobody knows what is open."""
        self._is_troubled = False
        self._log = structlog.get_logger("breaker")

    async def ask(self, host: str, destination: str = "") -> Passage | Refusal:
        """Whether a message for the destination may connect to this host (`name:port`) now."""
        await self._hear()
        known = self._known.get(host)
        if known is None or known.condition is Condition.CLOSED:
            return Passage(host)
        token = secrets.token_hex(8)
        if machine.may_pass(known, self._clock.epoch_seconds()):
            known = await self._change(host, lambda old: machine.start_probe(old, token, self._clock.epoch_seconds()))
            if known.condition is Condition.CLOSED:
                return Passage(host)
            if known.probe == token:
                return Passage(host, token)
        self._remember(host, destination)
        return self._refusal(known)

    async def failed(self, passage: Passage, reason: str) -> None:
        """No connection, or a temporary refusal in the greeting."""
        now = self._clock.epoch_seconds()
        await self._change(passage.host, lambda old: machine.note_failure(old, passage.probe, now, reason))

    async def greeted(self, passage: Passage) -> None:
        """The host is in order, whatever it says about messages."""
        if passage.probe or passage.host in self._known:
            now = self._clock.epoch_seconds()
            await self._change(passage.host, lambda old: machine.note_success(old, passage.probe, now))

    async def end(self, passage: Passage) -> None:
        """The delivery is over: a probe without a verdict is given back."""
        if passage.probe:
            await self._change(passage.host, lambda old: machine.give_back(old, passage.probe))

    # operators

    async def all(self) -> Sequence[Breaker]:
        """Those that are not in order, open ones first."""
        await self._hear(at_once=True)
        order = {Condition.OPEN: 0, Condition.HALF_OPEN: 1, Condition.CLOSED: 2}
        return sorted(self._known.values(), key=lambda each: (order[each.condition], each.host))

    def find(self, name: str) -> Breaker | None:
        """By `name:port`, or by the name when it stands for one alone."""
        name = name.lower()
        if name in self._known:
            return self._known[name]
        found = [each for host, each in self._known.items() if host.rpartition(":")[0] == name]
        return found[0] if len(found) == 1 else None

    async def probe(self, host: str) -> Breaker:
        """Let one message try now; the breaker as it is then."""
        return await self._change(host, lambda old: machine.probe_now(old, self._clock.epoch_seconds()))

    async def reset(self, host: str) -> Breaker:
        """Closed again, whatever happened; the breaker as it was."""
        before = self._known.get(host, Breaker(host))
        await self._change(host, lambda old: Breaker(old.host, since_seconds=self._clock.epoch_seconds()))
        return before

    def waiting(self, host: str) -> Sequence[str]:
        """Destinations whose mail was passed over for this host since the start, as far as remembered."""
        return list(self._waiting.get(host, ()))

    def not_closed(self, limit: int) -> Sequence[Breaker]:
        """Those open or half-open, the longest first; also from other threads."""
        found = [each for each in list(self._known.values()) if each.condition is not Condition.CLOSED]
        return sorted(found, key=lambda each: (each.opened_seconds, each.host))[:limit]

    def count_not_closed(self) -> int:
        """How many hosts are passed over."""
        return sum(each.condition is not Condition.CLOSED for each in self._known.values())

    def count_postponed(self, kind: str) -> None:
        """A delivery was not tried."""
        self._metrics.postponed.labels(kind).inc()

    def exposition(self) -> bytes:
        """Those open or half-open as a metric of their own: hosts come and go, and no more than 100 are told."""
        states = {each.host: _STATES[each.condition] for each in self.not_closed(_TOLD)}
        return gauge_text("breaker_state", "Hosts passed over: 2 open, 1 half-open.", "host", states)

    def _refusal(self, known: Breaker) -> Refusal:
        now = self._clock.epoch_seconds()
        if known.condition is Condition.OPEN:
            at = machine.next_try_seconds(known, now)
        else:
            at = min(machine.next_try_seconds(known, now), now + _PROBE_RUNNING_SECONDS)
        return Refusal(known.host, datetime.fromtimestamp(at, UTC), sentence(known))

    def _remember(self, host: str, destination: str) -> None:
        waiting = self._waiting.setdefault(host, OrderedDict())
        self._waiting.move_to_end(host)
        if len(waiting) < _WAITING_PER_HOST:
            waiting[destination] = None
        if len(self._waiting) > _WAITING_HOSTS:
            self._waiting.popitem(last=False)

    async def _change(self, host: str, step: Step) -> Breaker:
        """One step in the store, or in memory alone when the store does not answer."""
        async with self._lock:
            try:
                before, after = await self._offload.run(self._store.change, host, step)
                self._is_troubled = False
            except MailboxError as error:
                self._trouble(error)
                before = self._known.get(host, Breaker(host))
                after = step(before)
            self._put(after)
        self._tell(before, after)
        return after

    async def _hear(self, *, at_once: bool = False) -> None:
        """Take over what other nodes did."""
        now = self._clock.monotonic_seconds()
        may_be_old = self._has_heard and not at_once
        if may_be_old and (now < self._refreshed_seconds + _REFRESH_SECONDS or self._lock.locked()):
            return
        async with self._lock:
            if self._has_heard and not may_be_old and not at_once:  # after a start all wait for the first one's answer
                return
            self._refreshed_seconds = now
            try:
                found = await self._offload.run(self._store.all)
                self._known = {each.host: each for each in found}
            except MailboxError as error:
                self._trouble(error)
            self._has_heard = True

    def _put(self, breaker: Breaker) -> None:
        if is_clean(breaker):
            self._known.pop(breaker.host, None)
            self._waiting.pop(breaker.host, None)
        elif breaker.host in self._known or len(self._known) < MAX_BREAKERS:
            self._known[breaker.host] = breaker

    def _tell(self, before: Breaker, after: Breaker) -> None:
        if before.condition is after.condition:
            return
        if after.condition is Condition.OPEN:
            self._metrics.breaker_opened.inc()
            self._log.warning(
                "breaker_open",
                host=after.host,
                failures=after.failures,
                next_probe=_time(after.probe_at_seconds),
                reason=after.reason,
            )
        elif after.condition is Condition.HALF_OPEN:
            self._log.info("breaker_half_open", host=after.host)
        else:
            self._metrics.breaker_closed.inc()
            self._log.info("breaker_closed", host=after.host)

    def _trouble(self, error: MailboxError) -> None:
        if not self._is_troubled:
            self._log.warning("breakers_unshared", code=error.code)
        self._is_troubled = True


def sentence(breaker: Breaker) -> str:
    """Why mail for this host waits, for whoever looks at the queue."""
    name = breaker.host.removesuffix(":25")
    last = f" (the last time: {clean(breaker.reason, _SHOWN_CHARACTERS)})" if breaker.reason else ""
    if breaker.condition is Condition.OPEN:
        return (
            f"{name} is passed over since {breaker.failures} connections in a row failed{last};"
            f" the next try is at {_time(breaker.probe_at_seconds)}"
        )
    if breaker.condition is Condition.HALF_OPEN:
        return f"{name} failed {breaker.failures} times in a row{last}; one message is trying whether it works again"
    return f"{name} is in order"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
