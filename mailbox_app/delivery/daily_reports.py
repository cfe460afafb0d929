"""Sends one report for each domain and day of UTC to each address that its record names, through the queue: what every kind shares.

Each address is noted as served before the next one is looked at, so a restart goes on where the last one ended. What DNS does not
answer is tried again; after three days a report is worth nothing and is dropped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import ClassVar, Generic, Protocol, TypeVar

import structlog

from mailbox_app.accounts.interface import Directory
from mailbox_app.clock import Clock
from mailbox_app.config.reports import Reports
from mailbox_app.config.schema import Config
from mailbox_app.db.offload import Offload
from mailbox_app.delivery.report_mail import ReportMail, compose
from mailbox_app.mailauth.dkim_sign import DkimSigner
from mailbox_app.mailauth.report_destinations import Destination
from mailbox_app.mailqueue.interface import QueueBackend
from mailbox_app.mailqueue.model import Envelope, NewRecipient
from mailbox_app.mailqueue.report_signing import ReportSigner
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.net.resolver import Resolver
from mailbox_app.observe.metrics import Metrics
from mailbox_app.policy.report_addresses import is_skipped, report_sender
from mailbox_app.policy.state.sent_reports import DAY_SECONDS, Sent

_MAX_AGE_DAYS = 3
_BATCH = 100
_PAUSE_SECONDS = 0.2
"""After each domain: a day's reports are in no hurry."""
_MAX_PUT_OFF = 1_000
_SENT_SECONDS = 90 * DAY_SECONDS


class DayRows(Protocol):
    """What was counted and what was sent; `policy.state.sent_reports` and those who count. Everything blocks."""

    def waiting(self, before_day: int, limit: int) -> Sequence[tuple[int, str]]:
        """Days (since 1970) with domains that nobody reported yet, oldest first."""
        ...

    def settle(self, day: int, domain: str) -> None:
        """The day was reported, or nobody wants it: forget its rows."""
        ...

    def note_sent(self, sent: Sent) -> None:
        """Durable."""
        ...

    def sent_to(self, day: int, domain: str) -> set[str]:
        """The addresses that have their report, or cannot have it."""
        ...

    def sent_count(self, since_seconds: float) -> int:
        """How many reports of all kinds were queued since then."""
        ...

    def forget_sent(self, before_seconds: float) -> None:
        """Drop old entries."""
        ...


@dataclass(frozen=True, slots=True)
class Day:
    """One domain's day, to be reported."""

    day: int
    domain: str
    sender: str

    @property
    def begin_seconds(self) -> int:
        """Of the day."""
        return self.day * DAY_SECONDS

    @property
    def end_seconds(self) -> int:
        """Its last second."""
        return self.begin_seconds + DAY_SECONDS - 1


@dataclass(frozen=True, slots=True)
class Targets:
    """Where a report goes."""

    admitted: Sequence[Destination]
    refused: Sequence[tuple[str, str]] = ()
    """Addresses that get none, and why."""
    is_whole: bool = True
    """False: some could not be found out now."""


@dataclass(frozen=True, slots=True)
class ReportTools:
    """What sending reports takes, of every kind."""

    queue: QueueBackend
    spool: Spool
    directory: Directory
    resolver: Resolver
    offload: Offload
    clock: Clock
    metrics: Metrics
    config: Callable[[], Config]


G = TypeVar("G")


class DailyReports(ABC, Generic[G]):
    """One in the core per kind; `G` is what was gathered about one day."""

    kind: ClassVar[str]

    def __init__(self, rows: DayRows, tools: ReportTools) -> None:
        self._rows = rows
        self._queue = tools.queue
        self._spool = tools.spool
        self._directory = tools.directory
        self._resolver = tools.resolver
        self._offload = tools.offload
        self._clock = tools.clock
        self._metrics = tools.metrics
        self._config = tools.config
        self._log = structlog.get_logger("reports")

    @abstractmethod
    def _is_wanted(self, settings: Reports) -> bool:
        """Whether this kind is sent at all."""

    @abstractmethod
    def _gather(self, day: int, domain: str) -> G | None:
        """What was counted; None: nothing to report. Blocks."""

    @abstractmethod
    async def _targets(self, about: Day, gathered: G) -> Targets:
        """Where it goes."""

    @abstractmethod
    def _mail(self, about: Day, gathered: G, target: Destination, report_id: str, message_id: str) -> ReportMail:
        """The message. Blocks."""

    @abstractmethod
    def _count(self, gathered: G) -> int:
        """Messages or sessions it tells of."""

    async def send_due(self) -> int:
        """Report the days that are over; how many reports were queued. Raises `MailboxError` on local trouble."""
        config, run = self._config(), self._offload.run
        today = int(self._clock.epoch_seconds() // DAY_SECONDS)
        domains = [each.name for each in await run(self._directory.domains)]
        sender = report_sender(config.reports, config.server.hostname, domains)
        room = config.reports.max_per_day - await run(self._rows.sent_count, self._clock.epoch_seconds() - DAY_SECONDS)
        put_off: set[tuple[int, str]] = set()
        queued = 0
        while len(put_off) < _MAX_PUT_OFF:
            found = await run(self._rows.waiting, today, _BATCH + len(put_off))
            due = [each for each in found if each not in put_off]
            if not due:
                break
            for day, domain in due:
                unwanted = not self._is_wanted(config.reports) or not sender or is_skipped(config.reports, domain)
                if unwanted or day < today - _MAX_AGE_DAYS:
                    await run(self._rows.settle, day, domain)
                    continue
                if queued >= room:
                    put_off.add((day, domain))
                    continue
                count, is_settled = await self._report(Day(day, domain, sender))
                queued += count
                if not is_settled:
                    put_off.add((day, domain))
                await self._clock.sleep(_PAUSE_SECONDS)
        if put_off:
            self._log.info("reports_put_off", kind=self.kind, domains=len(put_off), room=max(0, room - queued))
        await run(self._rows.forget_sent, self._clock.epoch_seconds() - _SENT_SECONDS)
        return queued

    async def _report(self, about: Day) -> tuple[int, bool]:
        """How many addresses got their report, and whether the day is settled."""
        run = self._offload.run
        gathered = await run(self._gather, about.day, about.domain)
        queued, is_settled = 0, True
        if gathered is not None:
            served = await run(self._rows.sent_to, about.day, about.domain)
            targets = await self._targets(about, gathered)
            for address, why in targets.refused:
                if address not in served:
                    await self._note(about, gathered, address, why)
            for target in targets.admitted:
                if target.address not in served:
                    served.add(target.address)
                    queued += await self._serve(about, gathered, target)
            is_settled = targets.is_whole
        if is_settled:
            await run(self._rows.settle, about.day, about.domain)
        return queued, is_settled

    async def _serve(self, about: Day, gathered: G, target: Destination) -> int:
        content = await self._offload.run(self._compose, about, gathered, target)
        if target.max_bytes is not None and len(content) > target.max_bytes:
            await self._note(about, gathered, target.address, f"larger than it takes: {len(content)} bytes")
            return 0
        await self._offload.run(self._enqueue, about, target, content)
        await self._note(about, gathered, target.address, "queued")
        return 1

    async def _note(self, about: Day, gathered: G, address: str, outcome: str) -> None:
        self._metrics.reports_sent.labels(self.kind, "queued" if outcome == "queued" else "refused").inc()
        self._log.info("report", kind=self.kind, domain=about.domain, address=address, outcome=outcome)
        now = self._clock.epoch_seconds()
        sent = Sent(about.day, about.domain, address, now, outcome, self._count(gathered), self.kind)
        await self._offload.run(self._rows.note_sent, sent)

    def _compose(self, about: Day, gathered: G, target: Destination) -> bytes:
        mail = self._mail(about, gathered, target, self._report_id(about), self._message_id(about, target))
        content = compose(mail, self._clock.now())
        signer = ReportSigner(self._directory, DkimSigner(), about.sender.rpartition("@")[2], self._clock)
        return signer.signed(content)

    def _enqueue(self, about: Day, target: Destination, content: bytes) -> None:
        transport = "local" if self._directory.is_local_domain(target.host) else "smtp"
        # nobody wants to hear that a report did not arrive
        recipient = NewRecipient(target.address, transport, "NEVER")
        envelope = self._envelope(about.sender, self._message_id(about, target))
        self._queue.enqueue(envelope, [recipient], self._spool.write(b"", content), self._clock.now())

    def _envelope(self, sender: str, message_id: str) -> Envelope:
        return Envelope(sender, message_id=message_id)

    @property
    def _hostname(self) -> str:
        return self._config().server.hostname.rstrip(".").lower()

    def _report_id(self, about: Day) -> str:
        """The same for the same report, whoever gets it and however often it is made. RFC 9990 3.5.1."""
        return blake2b(
            f"{self._id_seed}{self._hostname} {about.day} {about.domain}".encode(), digest_size=12
        ).hexdigest()

    _id_seed: ClassVar[str] = ""

    def _message_id(self, about: Day, target: Destination) -> str:
        whose = blake2b(target.address.lower().encode(), digest_size=6).hexdigest()
        return f"<{self._report_id(about)}.{whose}@{self._hostname}>"
