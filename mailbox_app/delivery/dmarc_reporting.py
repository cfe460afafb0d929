"""DMARC aggregate reports: a report goes where the domain's own organization is, or where the other side says that it wants it;
never beyond the size that it allows. RFC 9990."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from mailbox_app.config.reports import Reports
from mailbox_app.delivery.daily_reports import DailyReports, Day, ReportTools, Targets
from mailbox_app.delivery.report_mail import ReportMail
from mailbox_app.errors import ResolveError
from mailbox_app.mailauth.report_destinations import Destination, admitted, read_destinations
from mailbox_app.policy.state.dmarc_rows import Gathered, SqliteDmarcRows
from mailbox_app.proto.dmarc_report import DmarcReport, compose
from mailbox_app.proto.report_container import pack_gzip


class DmarcReporter(DailyReports[Gathered]):
    """One in the core."""

    kind: ClassVar[str] = "dmarc"

    def __init__(self, rows: SqliteDmarcRows, tools: ReportTools, *, version: str) -> None:
        super().__init__(rows, tools)
        self._counted = rows
        self._generator = f"Mailbox {version}"

    def _is_wanted(self, settings: Reports) -> bool:
        return settings.dmarc

    def _gather(self, day: int, domain: str) -> Gathered | None:
        found = self._counted.gathered(day, domain)
        return found if found is not None and found.rows else None

    def _count(self, gathered: Gathered) -> int:
        return sum(row.count for row in gathered.rows)

    async def _targets(self, about: Day, gathered: Gathered) -> Targets:
        taken: list[Destination] = []
        refused: list[tuple[str, str]] = []
        is_whole = True
        for destination in read_destinations(gathered.addresses):
            try:
                targets = await admitted(self._resolver, about.domain, destination)
            except ResolveError as error:
                self._log.info(
                    "report_put_off", domain=about.domain, address=destination.address, reason=error.public_text
                )
                is_whole = False
                continue
            taken += targets
            if not targets:
                refused.append((destination.address, f"{destination.host} does not say that it wants it"))
        return Targets(taken, refused, is_whole)

    def _mail(self, about: Day, gathered: Gathered, target: Destination, report_id: str, message_id: str) -> ReportMail:
        hostname = self._hostname
        report = DmarcReport(
            hostname,
            about.sender,
            report_id,
            about.begin_seconds,
            about.end_seconds,
            gathered.published,
            gathered.rows,
            self._config().reports.contact,
            self._generator,
            [f"{gathered.unlisted} messages of further sources are not listed"] if gathered.unlisted else [],
            # pct= only exists in the older form
            is_newer=gathered.published.percent is None,
        )
        return ReportMail(
            about.sender,
            target.address,
            about.domain,
            hostname,
            report_id,
            message_id,
            f"This is the DMARC aggregate report about {about.domain} by {hostname} for "
            f"{datetime.fromtimestamp(about.begin_seconds, UTC):%Y-%m-%d} (UTC):\n{self._count(gathered)} messages. "
            "It is sent because of the rua= tag of the domain's DMARC record.",
            f"{hostname}!{about.domain}!{about.begin_seconds}!{about.end_seconds}!{report_id}.xml.gz",
            pack_gzip(compose(report)),
        )
