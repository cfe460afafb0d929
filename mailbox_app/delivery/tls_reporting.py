"""TLS reports (RFC 8460): what encryption with a domain's servers came to in a day, to the addresses of its `_smtp._tls` record.

Sessions are counted by `outbound.tls.tally`; the record is asked when the day is over. A report goes by mail, also where the
domain's own policy would hold mail up (RFC 8460 3: it tells of that very trouble), or by HTTPS POST.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import ClassVar
from urllib.parse import urlsplit

from mailbox_app.config.reports import Reports
from mailbox_app.delivery.daily_reports import DailyReports, Day, ReportTools, Targets
from mailbox_app.delivery.report_mail import ReportMail
from mailbox_app.errors import ResolveError
from mailbox_app.mailauth.report_destinations import Destination, read_destinations
from mailbox_app.mailqueue.model import Envelope, Priority
from mailbox_app.net import https
from mailbox_app.net.resolver import lookup_addresses
from mailbox_app.policy.state.tls_rows import SqliteTlsRows, TlsRow
from mailbox_app.proto.report_container import pack_gzip
from mailbox_app.proto.tls_report import FailureDetail, PolicyReport, TlsReport, compose

Rows = Sequence[tuple[TlsRow, int]]
_POST_SECONDS = 60.0
_ANSWER_BYTES = 65_536
_MAX_POSTS = 3
_TYPE = "application/tlsrpt+gzip"


class TlsReporter(DailyReports[Rows]):
    """One in the core."""

    kind: ClassVar[str] = "tls"
    _id_seed: ClassVar[str] = "tls "

    def __init__(self, rows: SqliteTlsRows, tools: ReportTools) -> None:
        super().__init__(rows, tools)
        self._counted = rows

    def _is_wanted(self, settings: Reports) -> bool:
        return settings.tls

    def _gather(self, day: int, domain: str) -> Rows | None:
        return self._counted.gathered(day, domain) or None

    def _count(self, gathered: Rows) -> int:
        return sum(count for _, count in gathered)

    async def _targets(self, about: Day, gathered: Rows) -> Targets:
        try:
            answer = await self._resolver.query(f"_smtp._tls.{about.domain}", "TXT")
        except ResolveError as error:
            self._log.info("report_put_off", kind=self.kind, domain=about.domain, reason=error.public_text)
            return Targets((), is_whole=False)
        uris = published_addresses(answer.records)
        posts = [uri for uri in uris if uri.lower().startswith("https:")][:_MAX_POSTS]
        refused = [(uri, await self._post(about, gathered, uri)) for uri in posts if not await self._has(about, uri)]
        return Targets(read_destinations(uris), refused)

    async def _has(self, about: Day, uri: str) -> bool:
        return uri in await self._offload.run(self._counted.sent_to, about.day, about.domain)

    async def _post(self, about: Day, gathered: Rows, uri: str) -> str:
        """What became of it, in a few words; it is noted and not tried again."""
        parts = urlsplit(uri)
        host, path = (parts.hostname or "").lower(), (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not host or "." not in host or not path.isascii() or any(ord(each) <= 32 for each in path):
            return "its address cannot be used"
        config = self._config().delivery
        try:
            found = await lookup_addresses(self._resolver, host)
            fit = [each for each in found if config.allow_private_addresses or ip_address(each).is_global]
            body = await self._offload.run(self._packed, about, gathered)
            context = await self._offload.run(_context, config.ca_file)
            answer = await https.post(
                host, path, body, _TYPE, addresses=fit, port=parts.port or 443, context=context,
                seconds=_POST_SECONDS, max_bytes=_ANSWER_BYTES,
            )  # fmt: skip
        except (ResolveError, https.HttpsTrouble, ValueError) as error:
            return f"not taken: {error}"[:200]
        return "posted" if 200 <= answer.status < 300 else f"not taken: {host} answered {answer.status}"

    def _packed(self, about: Day, gathered: Rows) -> bytes:
        hostname = self._hostname
        contact = self._config().reports.contact or about.sender
        return pack_gzip(
            compose(
                TlsReport(
                    hostname, contact, self._report_id(about), about.begin_seconds, about.end_seconds,
                    policies_of(about.domain, gathered),
                )
            )
        )  # fmt: skip

    def _envelope(self, sender: str, message_id: str) -> Envelope:
        # RFC 8460 3: a policy that fails must not keep the report about it from arriving
        return Envelope(sender, message_id=message_id, tls_optional=True, priority=Priority.BULK)

    def _mail(self, about: Day, gathered: Rows, target: Destination, report_id: str, message_id: str) -> ReportMail:
        hostname = self._hostname
        return ReportMail(
            about.sender,
            target.address,
            about.domain,
            hostname,
            report_id,
            message_id,
            f"This is the TLS report about {about.domain} by {hostname} for "
            f"{datetime.fromtimestamp(about.begin_seconds, UTC):%Y-%m-%d} (UTC):\n{self._count(gathered)} sessions. "
            "It is sent because of the rua= tag of the domain's record at _smtp._tls.",
            f"{hostname}!{about.domain}!{about.begin_seconds}!{about.end_seconds}!{report_id}.json.gz",
            self._packed(about, gathered),
            kind="tlsrpt",
        )


def published_addresses(records: Sequence[str]) -> Sequence[str]:
    """The rua= URIs of a `_smtp._tls` name; none when there is no record, or more than one. RFC 8460 3."""
    found = [text for text in records[:20] if text.replace(" ", "").lower().startswith("v=tlsrptv1;")]
    if len(found) != 1:
        return ()
    tags = dict(tag.strip().partition("=")[::2] for tag in found[0].split(";"))
    return [uri.strip() for uri in tags.get("rua", "").split(",") if uri.strip()]


def policies_of(domain: str, rows: Rows) -> Sequence[PolicyReport]:
    """One entry per policy that was met."""
    found: dict[tuple[str, Sequence[str]], PolicyReport] = {}
    for row, count in rows:
        key = (row.policy_type, tuple(row.policy))
        policy = found.get(key) or PolicyReport(row.policy_type, domain, row.policy, _mx_patterns(row))
        if not row.result:
            found[key] = replace(policy, succeeded=policy.succeeded + count)
            continue
        detail = FailureDetail(row.result, count, row.sending_ip, row.mx_host, row.receiving_ip, "", row.reason)
        found[key] = replace(policy, failed=policy.failed + count, details=[*policy.details, detail])
    return list(found.values())


def _mx_patterns(row: TlsRow) -> Sequence[str]:
    if row.policy_type != "sts":
        return ()
    return [line.partition(":")[2].strip() for line in row.policy if line.lower().startswith("mx:")]


def _context(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    return context
