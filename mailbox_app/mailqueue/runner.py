"""Takes what is due to the transports and settles what came of it, until it is cancelled.

One loop claims leases when a hint comes, when the next recipient is due and when a worker is free; each lease is one task. A
destination has at most `per_destination` workers, and a delivery that takes long does not count as a worker any more (up
to a bound), so slow and dead destinations leave the others theirs. A transport's bug is a
temporary outcome, a queue that cannot be written is tried again: the runner itself never ends but by cancellation, and then
running deliveries get eight seconds to finish before their leases are put back.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import ParamSpec, TypeVar

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import MailboxError
from mailbox_app.events.hints import QUEUE_TOPIC, Bus
from mailbox_app.mailqueue.bounces import Bounces
from mailbox_app.mailqueue.delivery_marks import DeliveryMarks
from mailbox_app.mailqueue.interface import QueueBackend, Transport
from mailbox_app.mailqueue.model import Fate, Lease, Outcome, QueueStats, RecipientState, Settlement
from mailbox_app.mailqueue.planning import deferred, planned, unreported
from mailbox_app.mailqueue.schedule import Schedule
from mailbox_app.mailqueue.settling import Patience, Settling
from mailbox_app.mailqueue.under_way import UnderWay
from mailbox_app.observe.mail_log import MailEvent, MailLog
from mailbox_app.observe.metrics import Metrics

_LEASE_SECONDS = 1200.0
"""Longer than any transport takes, with time left to settle."""
_DRAIN_SECONDS = 8.0
_RECORD_SECONDS = 1.5
"""For a database call that is under way when everything ends; 10 s is all the supervisor gives us."""
_DEPTH_SECONDS = 1.0
_DEPTH_SHARE = 100.0
"""Counting a long queue takes a while: at most one part in so many of the time goes into it."""
_POLL_SECONDS = 30.0
"""A lost hint costs no more than this."""
_BLOCKED_SECONDS = 1.0
"""What is due but not taken waits for its destination's other deliveries; their end wakes the loop anyway."""
_LONG_SECONDS = 1.0
"""What took so long waits for its host: it is no worker any more."""
_NO_WORK = float("-inf")
_TOGETHER_SECONDS = 0.02
"""Workers that come free within this time are given their next work by one claim, as long as most others have some."""
_CONTENT_BYTES = 16_384
"""A message that is not larger is read by the thread that claims it, which saves a way to another thread."""
_LONG_PER_WORKER = 15
"""Deliveries at once, as a multiple of the workers, when most only wait for slow hosts: with 40 workers 600 sockets. A silent host
keeps one for the 30 seconds of a connection attempt, so 20 new ones in a second do not slow the others down."""
P = ParamSpec("P")
T = TypeVar("T")
_UNREPORTED = timedelta(hours=1)
_REASONS = {Fate.LOOP: "loop", Fate.QUARANTINED: "quarantined"}
_VERBS = {Fate.DELIVERED: "delivered", Fate.DEFERRED: "attempt", Fate.FAILED: "failed", Fate.LOOP: "failed",
          Fate.QUARANTINED: "attempt"}  # fmt: skip


class QueueRunner:
    """Runs the queue of one process; several may run on one backend."""

    def __init__(
        self,
        backend: QueueBackend,
        transports: Mapping[str, Transport],
        bounces: Bounces,
        *,
        offload: Offload,
        clock: Clock,
        bus: Bus,
        mail_log: MailLog,
        metrics: Metrics,
        workers: int = 40,
        per_destination: int = 5,
        chance: Callable[[], float] = random.random,
        under_way: UnderWay | None = None,
        claim_counts: Callable[[Mapping[str, int]], Mapping[str, int]] = dict,
        schedule: Callable[[], Schedule] = Schedule,
        marks: DeliveryMarks | None = None,
    ) -> None:
        self._backend = backend
        self._transports = transports
        self._bounces = bounces
        self._offload = offload
        self._clock = clock
        self._bus = bus
        self._mail_log = mail_log
        self._metrics = metrics
        self._workers = workers
        self._per_destination = per_destination
        self._claim_counts = claim_counts
        """What a claim is told of running deliveries, so that destinations keep bounds of their own (`pace`)."""
        self._chance, self._schedule = chance, schedule
        self._under_way = under_way or UnderWay()
        self._marks = marks
        self._patience = Patience(clock, metrics)
        self._settling = Settling(backend, offload, clock, self._patience)
        self._log = structlog.get_logger("queue")
        self._tasks: dict[asyncio.Task[None], float] = {}
        """Running deliveries and when they began; those whose result is being recorded are no work any more."""
        self._ended = 0
        """Deliveries that ended since the last claim."""
        self._has_backlog = False
        """The last claim left something for sure: the next one may wait until it is worth its while."""
        self._running: Counter[str] = Counter()
        self._held: dict[str, None] = {}
        """The tokens of their leases: not taken anew while a result waits to be recorded, or mail would go out twice."""
        self._wake = asyncio.Event()
        self._measure_at = 0.0

    async def run(self) -> None:
        """Deliver until cancelled; running deliveries are then finished or put back within eight seconds."""
        subscription = self._bus.subscribe(QUEUE_TOPIC, self._wake.set)
        recovering: asyncio.Task[None] | None = None
        try:
            await self._settle_marked()  # before a claim, or what is marked might go out again
            recovering = asyncio.get_running_loop().create_task(self._recover())  # with a long queue it takes seconds
            while True:
                self._wake.clear()
                self._ended = 0
                try:
                    leases, due_at = await self._claim()
                    for lease in leases:
                        self._start(lease)
                    await self._wait(due_at)
                except Exception:  # noqa: BLE001 - the runner never dies; logged and counted
                    self._log.exception("queue runner failed, going on")
                    self._metrics.errors.inc()
                    await self._clock.sleep(_POLL_SECONDS)
        finally:
            subscription.close()
            if recovering is not None:
                recovering.cancel()
            await self._drain()
            if self._marks is not None:
                self._marks.close()

    async def recover(self) -> int:
        """Settle what dead processes have marked as delivered, put back the rest of their leases; how many leases."""
        await self._settle_marked()
        return await self._offload.run(self._backend.recover, self._clock.now())

    async def _settle_marked(self) -> None:
        """What servers had taken when a process died is recorded, before its leases are anybody's."""
        if self._marks is None:
            return
        try:
            left = await self._patiently(self._marks.left_behind, self._backend)
            await asyncio.gather(*(self._conclude(lease, outcomes) for lease, outcomes in left))
            await self._offload.run(self._marks.forget)
        except Exception:  # noqa: BLE001 - the runner never dies; what is left is read again at the next start
            self._log.exception("marks of deliveries not read")
            self._metrics.errors.inc()

    async def _recover(self) -> None:
        try:
            await self._patiently(self._backend.recover, self._clock.now())
        except Exception:  # noqa: BLE001 - leases run out by themselves, orphan files wait for the next start
            self._log.exception("queue recovery failed")
            self._metrics.errors.inc()
        self._wake.set()

    def _free(self) -> int:
        """How many more deliveries may begin."""
        recent = self._clock.monotonic_seconds() - _LONG_SECONDS
        brisk = sum(started > recent for started in self._tasks.values())
        return min(self._workers - brisk, self._workers * _LONG_PER_WORKER - len(self._tasks))

    async def _claim(self) -> tuple[Sequence[Lease], datetime | None]:
        """Leases for the free workers, and when there is more to do once they have begun."""
        free = self._free()
        if free <= 0:
            return (), None
        running, held = self._claim_counts(self._running), tuple(self._held)

        def look() -> tuple[Sequence[Lease], datetime | None]:
            leases = self._backend.claim(
                self._clock.now(),
                limit=free,
                lease_seconds=_LEASE_SECONDS,
                running=running,
                per_destination=self._per_destination,
                held=held,
            )
            leases = [_with_content(lease) for lease in leases]
            self._has_backlog = len(leases) == free
            if self._has_backlog:
                return leases, None
            try:
                return leases, self._backend.next_due_at()
            except MailboxError:  # the leases are ours all the same
                return leases, None

        claiming = asyncio.ensure_future(self._patiently(look))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await asyncio.wait({claiming}, timeout=_RECORD_SECONDS)
            if not claiming.done() or claiming.exception() is not None:
                claiming.cancel()
                raise
            for lease in claiming.result()[0]:  # claimed for nobody: back at once
                await self._release(lease)
            raise

    def _start(self, lease: Lease) -> None:
        destination = lease.message.recipients[0].destination
        self._running[destination] += 1
        self._held[lease.token] = None
        self._under_way.begin(lease, self._clock.now())
        task = asyncio.get_running_loop().create_task(self._work(lease))
        self._tasks[task] = self._clock.monotonic_seconds()

        def ended(done: asyncio.Task[None]) -> None:
            del self._tasks[done]
            del self._held[lease.token]

        task.add_done_callback(ended)

    def _end(self, lease: Lease) -> None:
        """The transport is done with it: what is left is to record the result, which keeps no worker and no connection."""
        destination = lease.message.recipients[0].destination
        self._under_way.end(lease)
        self._running[destination] -= 1
        if not self._running[destination]:
            del self._running[destination]
        if (task := asyncio.current_task()) in self._tasks:
            self._tasks[task] = _NO_WORK
        self._ended += 1
        if not self._has_backlog or self._ended >= self._workers // 4:
            self._wake.set()
        elif self._ended == 1:
            asyncio.get_running_loop().call_later(_TOGETHER_SECONDS, self._wake.set)

    async def _wait(self, due_at: datetime | None) -> None:
        """Until a hint, a free worker or the next due recipient."""
        timer = asyncio.ensure_future(self._clock.sleep(await self._seconds_to_wait(due_at)))
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({timer, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            woken.cancel()

    async def _seconds_to_wait(self, due_at: datetime | None) -> float:
        if self._free() <= 0:
            return _BLOCKED_SECONDS
        seconds = (
            _POLL_SECONDS if await self._measure() else max(self._measure_at - self._clock.monotonic_seconds(), 0.0)
        )
        if due_at is None:
            return seconds
        ahead = (due_at - self._clock.now()).total_seconds()
        return min(ahead + 0.001 if ahead > 0 else _BLOCKED_SECONDS, seconds)

    async def _measure(self) -> bool:
        """Count the queue now and then; False when the figure is stale."""
        if (began := self._clock.monotonic_seconds()) < self._measure_at:
            return False
        stats = await self._patiently(self._backend.stats, self._clock.now())
        self._show(stats)
        took = self._clock.monotonic_seconds() - began
        self._measure_at = began + max(_DEPTH_SECONDS, min(took * _DEPTH_SHARE, _POLL_SECONDS))
        return True

    def _show(self, stats: QueueStats) -> None:
        metrics = self._metrics
        metrics.queue_depth.set(stats.recipients)
        metrics.queue_late.set(stats.late)
        age = 0.0 if stats.oldest_at is None else (self._clock.now() - stats.oldest_at).total_seconds()
        metrics.queue_oldest_seconds.set(max(age, 0.0))
        by_state = {
            RecipientState.DEFERRED: stats.deferred,
            RecipientState.ACTIVE: stats.active,
            RecipientState.HELD: stats.held,
            RecipientState.QUARANTINED: stats.quarantined,
        }
        for state, count in by_state.items():
            metrics.queue_recipients.labels(state.value).set(count)

    async def _work(self, lease: Lease) -> None:
        """One lease from claim to settled."""
        try:
            try:
                outcomes = await self._deliver(lease)
            finally:
                self._end(lease)
        except asyncio.CancelledError:
            if taken := self._marks.of(lease) if self._marks is not None else ():
                await self._conclude(lease, taken)
            else:
                await self._release(lease)
            raise
        conclusion = asyncio.ensure_future(self._conclude(lease, outcomes))
        try:
            await asyncio.shield(conclusion)
        except asyncio.CancelledError:  # the result is known: it is recorded whatever happens to this task
            await asyncio.wait({conclusion}, timeout=_RECORD_SECONDS)
            conclusion.cancel()
            raise

    async def _deliver(self, lease: Lease) -> Sequence[Outcome]:
        """One outcome per leased recipient, whatever the transport does."""
        recipients = lease.message.recipients
        passed_over = any(recipient.hold_reason for recipient in recipients)  # then it gets its last try
        if self._clock.now() >= lease.message.expires_at and recipients[0].attempts and not passed_over:
            return [deferred(recipient, recipient.last_text) for recipient in recipients]  # planning ends it
        try:
            given = await self._transports[recipients[0].transport].deliver(lease)
        except Exception:  # noqa: BLE001 - the runner never dies; logged and counted
            self._log.exception("transport failed", queue_id=lease.message.queue_id)
            self._metrics.errors.inc()
            given = ()
        if self._marks is not None:
            if any(outcome.fate is Fate.DELIVERED for outcome in given):
                self._marks.note(lease, given)
            given = [*self._marks.of(lease), *given]
        by_address = {outcome.address: outcome for outcome in given}
        return [by_address.get(one.address) or deferred(one, "internal error") for one in recipients]

    async def _conclude(self, lease: Lease, outcomes: Sequence[Outcome]) -> None:
        """Report failures, then settle; durable before anything else is done about the recipients."""
        now = self._clock.now()
        outcomes, next_at = planned(lease, outcomes, now, self._schedule(), self._chance())
        try:
            if not await self._reported(lease, outcomes):
                outcomes = [unreported(outcome) for outcome in outcomes]
                next_at = now + _UNREPORTED
            is_recorded = await self._settling.settle(Settlement(lease, outcomes, next_at))
        except Exception as error:  # noqa: BLE001 - the lease runs out, then the recipients are due again
            self._log.exception("outcome not recorded", queue_id=lease.message.queue_id, error=str(error))
            self._metrics.errors.inc()
        else:
            if self._marks is not None:
                self._marks.settled(lease)
            if is_recorded:
                self._tell(lease, outcomes, now)
            else:
                self._log.warning("lease lost, outcome not recorded", queue_id=lease.message.queue_id)

    async def _reported(self, lease: Lease, outcomes: Sequence[Outcome]) -> bool:
        """Whether the sender knows, or need not know, about the failures: only then may they leave the queue."""
        if not self._bounces.concern(lease, outcomes):
            return True
        try:
            report = await self._patiently(self._bounces.report, lease, outcomes)
        except Exception:  # noqa: BLE001 - the runner never dies; logged and counted
            self._log.exception("report not made", queue_id=lease.message.queue_id)
            self._metrics.errors.inc()
            return False
        if report is not None:
            self._mail_log.write(
                MailEvent(
                    verb="queued",
                    direction="out",
                    queue_id=report,
                    recipients=(lease.message.envelope.sender,),
                    text=f"report about {lease.message.queue_id}",
                )
            )
        return True

    def _tell(self, lease: Lease, outcomes: Sequence[Outcome], now: datetime) -> None:
        message = lease.message
        transports = {recipient.address: recipient.transport for recipient in message.recipients}
        for outcome in outcomes:
            if outcome.fate is Fate.POSTPONED:  # nothing happened to it
                continue
            if outcome.fate is Fate.DELIVERED:
                if transports[outcome.address] == "smtp":
                    self._metrics.messages_sent.inc()
                self._metrics.delivery_duration_seconds.observe(max((now - message.arrived_at).total_seconds(), 0.0))
            elif outcome.fate is Fate.DEFERRED:
                self._metrics.delivery_retries.inc()
            elif outcome.fate is Fate.QUARANTINED:
                self._log.error("message put aside, it cannot be read", queue_id=message.queue_id, reason=outcome.text)
                self._metrics.errors.inc()
            else:
                self._metrics.messages_bounced.inc()
            self._mail_log.write(
                MailEvent(
                    verb=_VERBS[outcome.fate],
                    direction="out",
                    queue_id=message.queue_id,
                    sender=message.envelope.sender,
                    recipients=(outcome.address,),
                    message_id=message.envelope.message_id,
                    size_bytes=message.size_bytes,
                    remote=outcome.host,
                    tls=outcome.tls,
                    code=outcome.code,
                    enhanced=outcome.enhanced,
                    text=outcome.text,
                    reason=_REASONS.get(outcome.fate, ""),
                    duration_seconds=outcome.duration_seconds,
                )
            )

    async def _release(self, lease: Lease) -> None:
        try:
            await self._offload.run(self._backend.release, lease)
        except MailboxError as error:  # it runs out by itself
            self._log.warning("lease not released", queue_id=lease.message.queue_id, code=error.code)

    async def _drain(self) -> None:
        """Give running deliveries their time, then end them; each puts its own lease back."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_DRAIN_SECONDS)
        rest = list(self._tasks)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _patiently(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call off the loop until it does not fail for a temporary reason."""
        return await self._patience.until_done(lambda: self._offload.run(function, *args, **kwargs))


def _with_content(lease: Lease) -> Lease:
    """With the message when it is small; a file that cannot be read is the transport's to find out."""
    if lease.message.size_bytes > _CONTENT_BYTES:
        return lease
    try:
        with open(lease.spool_path, "rb", buffering=0) as file:
            content = file.read(_CONTENT_BYTES + 1)
    except OSError:
        return lease
    return replace(lease, content=content) if len(content) == lease.message.size_bytes else lease
