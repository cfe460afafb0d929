"""Sends aggregate reports: one for each domain and day of UTC to each address its record names, through the queue.

A report goes where the domain's own organization is, or where the other side says that it wants it; never beyond the size that
it allows. Each address is noted as served before the next one is looked at, so a restart goes on where the last one ended. What
DNS does not answer is tried again; after three days a report is worth nothing and is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b

import structlog

from mailbox_app.accounts.interface import Directory
from mailbox_app.clock import Clock
from mailbox_app.config.schema import Config
from mailbox_app.db.offload import Offload
from mailbox_app.delivery.report_mail import ReportMail
from mailbox_app.delivery.report_mail import compose as compose_mail
from mailbox_app.errors import ResolveError
from mailbox_app.mailauth.dkim_sign import DkimSigner
from mailbox_app.mailauth.report_destinations import Destination, admitted, read_destinations
from mailbox_app.mailqueue.interface import QueueBackend
from mailbox_app.mailqueue.model import Envelope, NewRecipient
from mailbox_app.mailqueue.report_signing import ReportSigner
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.net.resolver import Resolver
from mailbox_app.observe.metrics import Metrics
from mailbox_app.policy.report_addresses import is_skipped, report_sender
from mailbox_app.policy.state.dmarc_rows import DAY_SECONDS, Gathered, Sent, SqliteDmarcRows
from mailbox_app.proto.dmarc_report import DmarcReport, compose
from mailbox_app.proto.report_container import pack_gzip

_MAX_AGE_DAYS = 3
_BATCH = 100
_PAUSE_SECONDS = 0.2
"""After each domain: a day's reports are in no hurry."""
_MAX_PUT_OFF = 1_000
_SENT_SECONDS = 90 * DAY_SECONDS


@dataclass(frozen=True, slots=True)
class _Day:
    """One domain's day, to be reported."""

    day: int
    domain: str
    gathered: Gathered
    sender: str

    @property
    def messages(self) -> int:
        return sum(row.count for row in self.gathered.rows)

    @property
    def begin_seconds(self) -> int:
        return self.day * DAY_SECONDS


class DmarcReporter:
    """One in the core."""

    def __init__(
        self,
        rows: SqliteDmarcRows,
        queue: QueueBackend,
        spool: Spool,
        directory: Directory,
        resolver: Resolver,
        offload: Offload,
        clock: Clock,
        metrics: Metrics,
        config: Callable[[], Config],
        *,
        version: str,
    ) -> None:
        self._rows = rows
        self._queue = queue
        self._spool = spool
        self._directory = directory
        self._resolver = resolver
        self._offload = offload
        self._clock = clock
        self._metrics = metrics
        self._config = config
        self._generator = f"Mailbox {version}"
        self._log = structlog.get_logger("reports")

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
                unwanted = not config.reports.dmarc or not sender or is_skipped(config.reports, domain)
                if unwanted or day < today - _MAX_AGE_DAYS:
                    await run(self._rows.settle, day, domain)
                    continue
                if queued >= room:
                    put_off.add((day, domain))
                    continue
                count, is_settled = await self._report(day, domain, sender)
                queued += count
                if not is_settled:
                    put_off.add((day, domain))
                await self._clock.sleep(_PAUSE_SECONDS)
        if put_off:
            self._log.info("reports_put_off", domains=len(put_off), room=max(0, room - queued))
        await run(self._rows.forget_sent, self._clock.epoch_seconds() - _SENT_SECONDS)
        return queued

    async def _report(self, day: int, domain: str, sender: str) -> tuple[int, bool]:
        """How many addresses got their report, and whether the day is settled."""
        run = self._offload.run
        gathered = await run(self._rows.gathered, day, domain)
        if gathered is None:
            return 0, True
        about = _Day(day, domain, gathered, sender)
        served = await run(self._rows.sent_to, day, domain) if gathered.rows else set()
        queued, is_settled = 0, True
        for destination in read_destinations(gathered.addresses) if gathered.rows else ():
            try:
                targets = await admitted(self._resolver, domain, destination)
            except ResolveError as error:
                self._log.info("report_put_off", domain=domain, address=destination.address, reason=error.public_text)
                is_settled = False
                continue
            if not targets and destination.address not in served:
                await self._note(about, destination.address, f"{destination.host} does not say that it wants it")
            for target in targets:
                if target.address not in served:
                    served.add(target.address)
                    queued += await self._serve(about, target)
        if is_settled:
            await run(self._rows.settle, day, domain)
        return queued, is_settled

    async def _serve(self, about: _Day, target: Destination) -> int:
        content = await self._offload.run(self._compose, about, target)
        if target.max_bytes is not None and len(content) > target.max_bytes:
            await self._note(about, target.address, f"larger than it takes: {len(content)} bytes")
            return 0
        await self._offload.run(self._enqueue, about, target, content)
        await self._note(about, target.address, "queued")
        return 1

    async def _note(self, about: _Day, address: str, outcome: str) -> None:
        self._metrics.reports_sent.labels("dmarc", "queued" if outcome == "queued" else "refused").inc()
        self._log.info("report", kind="dmarc", domain=about.domain, address=address, outcome=outcome)
        now = self._clock.epoch_seconds()
        sent = Sent(about.day, about.domain, address, now, outcome, about.messages)
        await self._offload.run(self._rows.note_sent, sent)

    def _enqueue(self, about: _Day, target: Destination, content: bytes) -> None:
        transport = "local" if self._directory.is_local_domain(target.host) else "smtp"
        # nobody wants to hear that a report did not arrive
        recipient = NewRecipient(target.address, transport, "NEVER")
        envelope = Envelope(about.sender, message_id=_message_id(about, target, self._hostname))
        self._queue.enqueue(envelope, [recipient], self._spool.write(b"", content), self._clock.now())

    @property
    def _hostname(self) -> str:
        return self._config().server.hostname.rstrip(".").lower()

    def _compose(self, about: _Day, target: Destination) -> bytes:
        settings, hostname = self._config().reports, self._hostname
        begin, end = about.begin_seconds, about.begin_seconds + DAY_SECONDS - 1
        report_id, unlisted = _report_id(about, hostname), about.gathered.unlisted
        report = DmarcReport(
            hostname,
            about.sender,
            report_id,
            begin,
            end,
            about.gathered.published,
            about.gathered.rows,
            settings.contact,
            self._generator,
            [f"{unlisted} messages of further sources are not listed"] if unlisted else [],
            # pct= only exists in the older form
            is_newer=about.gathered.published.percent is None,
        )
        mail = ReportMail(
            about.sender,
            target.address,
            about.domain,
            hostname,
            report_id,
            _message_id(about, target, hostname),
            f"This is the DMARC aggregate report about {about.domain} by {hostname} for "
            f"{datetime.fromtimestamp(begin, UTC):%Y-%m-%d} (UTC):\n{about.messages} messages. "
            "It is sent because of the rua= tag of the domain's DMARC record.",
            f"{hostname}!{about.domain}!{begin}!{end}!{report_id}.xml.gz",
            pack_gzip(compose(report)),
        )
        content = compose_mail(mail, self._clock.now())
        signer = ReportSigner(self._directory, DkimSigner(), about.sender.rpartition("@")[2], self._clock)
        return signer.signed(content)


def _report_id(about: _Day, hostname: str) -> str:
    """The same for the same report, whoever gets it and however often it is made. RFC 9990 3.5.1."""
    return blake2b(f"{hostname} {about.day} {about.domain}".encode(), digest_size=12).hexdigest()


def _message_id(about: _Day, target: Destination, hostname: str) -> str:
    whose = blake2b(target.address.lower().encode(), digest_size=6).hexdigest()
    return f"<{_report_id(about, hostname)}.{whose}@{hostname}>"
