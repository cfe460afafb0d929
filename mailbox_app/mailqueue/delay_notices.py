"""Tells senders once that a message is late: four hours after it could first have gone.

It looks at the queue, not at attempts: what a closed circuit or a pace holds back is late as well. A report is in the queue
before its recipients are marked, so a crash in between may repeat a notice and never loses one. Mail that an operator
holds is not late, and neither is mail that its sender wants to go later.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import MailboxError
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.bounces import Bounces
from mailbox_app.mailqueue.interface import QueueBackend
from mailbox_app.mailqueue.model import Lease, QueueFilter, RecipientState, Settlement
from mailbox_app.observe.mail_log import MailEvent, MailLog
from mailbox_app.observe.metrics import Metrics

DELAY_SECONDS = 14_400.0
"""RFC 5321 4.5.4.1 gives up after days; by now a person wants to know."""
_PAUSE_SECONDS = 60.0
_SHARE = 100.0
"""Looking takes a hundredth of the time at most, however long the queue is."""
_LEASE_SECONDS = 600.0
_LATE = QueueFilter(state=RecipientState.DEFERRED, late_seconds=DELAY_SECONDS)


class DelayNotices:
    """One per process that runs the queue; leases see to it that only one of several tells."""

    def __init__(
        self,
        backend: QueueBackend,
        bounces: Bounces,
        offload: Offload,
        clock: Clock,
        mail_log: MailLog,
        metrics: Metrics,
    ) -> None:
        self._backend = backend
        self._bounces = bounces
        self._offload = offload
        self._clock = clock
        self._mail_log = mail_log
        self._metrics = metrics
        self._log = structlog.get_logger("queue")

    async def run(self) -> None:
        """Until cancelled; what fails is logged and tried again at the next look."""
        took_seconds = 0.0
        while True:
            await self._clock.sleep(max(_PAUSE_SECONDS, _SHARE * took_seconds))
            began = self._clock.monotonic_seconds()
            try:
                await self.tell_due()
            except MailboxError as error:
                self._log.warning("delay_notices_failed", code=error.code)
            except Exception:  # noqa: BLE001 - a runner's edge: the notices of tomorrow must not depend on one of today
                self._log.exception("delay_notices_failed")
                self._metrics.errors.inc()
            took_seconds = self._clock.monotonic_seconds() - began

    async def tell_due(self) -> int:
        """One look: how many reports were sent."""
        stop = threading.Event()
        try:
            sent = await self._offload.run(self._tell, self._clock.now(), stop)
        except asyncio.CancelledError:
            stop.set()  # the thread ends after the message at hand and gives the rest back
            raise
        for report, lease in sent:
            self._mail_log.write(
                MailEvent(
                    verb="queued",
                    direction="out",
                    queue_id=report,
                    recipients=(lease.message.envelope.sender,),
                    text=f"delay notice about {lease.message.queue_id}",
                )
            )
        return len(sent)

    def _tell(self, now: datetime, stop: threading.Event) -> Sequence[tuple[QueueId, Lease]]:
        if not self._backend.matching(_LATE, 1):  # costs no lock
            return ()
        leases = sorted(self._backend.take(_LATE, now, _LEASE_SECONDS), key=lambda lease: lease.message.queue_id)
        sent: list[tuple[QueueId, Lease]] = []
        rest = list(leases)
        try:
            for together in _by_message(leases):
                if stop.is_set():
                    break
                report = self._bounces.report_delay(together)
                self._backend.settle([_told(lease) for lease in together], now)
                del rest[: len(together)]
                if report is not None:
                    sent.append((report, together[0]))
        finally:
            for lease in rest:
                self._backend.release(lease)
        return sent


def _by_message(leases: Sequence[Lease]) -> Iterator[Sequence[Lease]]:
    """One report for all destinations of a message."""
    for _, group in groupby(leases, key=lambda lease: lease.message.queue_id):
        yield list(group)


def _told(lease: Lease) -> Settlement:
    """Nothing but the mark; recipients without an outcome go back as they were."""
    addresses = [recipient.address for recipient in lease.message.recipients]
    return Settlement(lease, (), lease.message.expires_at, delay_told=addresses)
