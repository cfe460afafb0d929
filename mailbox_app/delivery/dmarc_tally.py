"""Counts each message for the aggregate reports of its author's domain, once what becomes of it is decided.

The disposition told is what was done because of DMARC alone: that other filters took a message for junk is nobody's business.
What will be tried again is counted when it is decided, and mail that brings us reports is never counted: two servers that
report about each other's reports would never end.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Protocol

from mailbox_app.accounts.interface import Directory
from mailbox_app.config.schema import Config
from mailbox_app.delivery.explaining import Decided
from mailbox_app.mailauth.results import AuthResults, DkimResult, DmarcRecord, DmarcResult, Result
from mailbox_app.observe.metrics import Metrics
from mailbox_app.policy.checks.sender_authentication import SenderAuthentication
from mailbox_app.policy.facts import MessageFacts
from mailbox_app.policy.report_addresses import is_skipped, report_address
from mailbox_app.policy.state.dmarc_rows import DmarcRows
from mailbox_app.policy.verdict import Judgement, Verdict
from mailbox_app.proto.dmarc_report import DkimLine, Published, Reason, Row, SpfLine

_COUNTED = "dmarc_tally"
_MAX_SIGNATURES = 10
_MAX_COMMENT = 200
_UNDECIDED = "DNS did not answer in time"


class DecisionSink(Protocol):
    """Who hears of decisions."""

    def note(self, decided: Decided) -> None:
        """One decision; quick."""
        ...


class Sinks:
    """Tells several."""

    def __init__(self, *sinks: DecisionSink) -> None:
        self._sinks = sinks

    def note(self, decided: Decided) -> None:
        """Each hears of it; one's trouble comes after the others have."""
        errors = []
        for sink in self._sinks:
            try:
                sink.note(decided)
            except Exception as error:  # noqa: BLE001 - raised again below, once all have heard
                errors.append(error)
        if errors:
            raise errors[0]


class DmarcTally:
    """A `DecisionSink`."""

    def __init__(
        self, rows: DmarcRows, directory: Directory, config: Callable[[], Config], metrics: Metrics | None = None
    ) -> None:
        self._rows = rows
        self._directory = directory
        self._config = config
        self._counted = metrics.dmarc_report_messages if metrics is not None else None

    def note(self, decided: Decided) -> None:
        """Count a message that was accepted or refused."""
        message = decided.facts.message
        if message is None or message.auth is None or 400 <= decided.reply.code < 500:
            return
        record, settings = message.auth.dmarc.record, self._config().reports
        if record is None or not record.aggregate_reports or not settings.dmarc or _COUNTED in message.derived:
            return
        message.derived[_COUNTED] = True
        if is_skipped(settings, record.domain) or self._brings_reports(decided, message, message.auth.dmarc):
            return
        self._rows.note(published(record), record.aggregate_reports, row(decided, message.auth))
        if self._counted is not None:
            self._counted.inc()

    def _brings_reports(self, decided: Decided, message: MessageFacts, dmarc: DmarcResult) -> bool:
        """Whether it calls itself a report, and DMARC passes or it is addressed as one: the subject alone hides no forgery."""
        subject = (message.header.first(b"subject") or b"").lstrip().lower()
        kind = (message.header.first(b"content-type") or b"").lower().replace(b'"', b"")
        if not subject.startswith(b"report domain:") and b"report-type=tlsrpt" not in kind:
            return False
        if dmarc.result is Result.PASS:
            return True
        settings, addressed = self._config().reports, [each.canonical.lower() for each in decided.facts.recipients]
        return bool(addressed) and all(
            each == report_address(settings, each.rpartition("@")[2]).lower() for each in addressed
        )


def published(record: DmarcRecord) -> Published:
    """The policy as a report tells it."""
    return Published(
        record.domain,
        record.policy or "none",
        record.subdomain_policy or record.policy or "none",
        record.missing_policy,
        "s" if record.strict_dkim else "r",
        "s" if record.strict_spf else "r",
        record.percent if record.percent < 100 else None,
        record.testing,
        ":".join(record.failure_options),
        "treewalk",
    )


def row(decided: Decided, auth: AuthResults) -> Row:
    """One message."""
    dmarc, facts = auth.dmarc, decided.facts
    disposition = _disposition(dmarc, decided.judgement, refused=decided.reply.code >= 500)
    spf = auth.spf
    sender_domain = facts.sender.rpartition("@")[2].lower()
    return Row(
        _source(facts.remote_ip),
        1,
        disposition,
        "pass" if dmarc.dkim_aligned else "fail",
        "pass" if dmarc.spf_aligned else "fail",
        dmarc.domain,
        sender_domain if sender_domain.isascii() else "",
        "",
        _reasons(dmarc, disposition),
        [DkimLine(each.domain, each.selector, each.result.value) for each in _signatures(auth.dkim, dmarc)],
        [SpfLine(spf.domain, spf.result.value, "helo" if spf.identity == "helo" else "mfrom")] if spf.domain else (),
    )


def _source(remote_ip: str) -> str:
    if ":" not in remote_ip:
        return remote_ip
    address = ipaddress.IPv6Address(remote_ip.partition("%")[0])
    return str(address.ipv4_mapped or address)


def _disposition(dmarc: DmarcResult, judgement: Judgement, *, refused: bool) -> str:
    if dmarc.result is Result.PASS:
        return "none" if dmarc.policy in ("", "none") else "pass"
    own = [
        finding.verdict
        for finding in judgement.findings
        if finding.check == SenderAuthentication.name and not finding.advisory
    ]
    verdict = max(own, default=Verdict.ACCEPT)
    if verdict is Verdict.REJECT:
        return "reject" if refused else "quarantine"
    return "quarantine" if verdict is Verdict.JUNK else "none"


def _reasons(dmarc: DmarcResult, disposition: str) -> Sequence[Reason]:
    """Why it was not what the policy asks for."""
    if dmarc.result is Result.PASS:
        return ()
    if dmarc.result is Result.TEMPERROR:
        return (Reason("other", _UNDECIDED),)
    reasons = [Reason(each.kind.value, each.comment[:_MAX_COMMENT]) for each in dmarc.overrides]
    if disposition != dmarc.disposition:
        if dmarc.mailing_list and dmarc.disposition == "reject" and disposition == "quarantine":
            reasons.append(Reason("mailing_list"))
        else:
            reasons.append(Reason("local_policy"))
    return tuple(reasons)


def _signatures(signatures: Sequence[DkimResult], dmarc: DmarcResult) -> Sequence[DkimResult]:
    """The most telling ones. RFC 9990 3.1.3."""

    def rank(signature: DkimResult) -> int:
        if signature.result is not Result.PASS:
            return 3
        if signature.domain == dmarc.domain:
            return 0
        return 1 if signature.domain == dmarc.organization or signature.domain.endswith(f".{dmarc.organization}") else 2

    return sorted((each for each in signatures if each.domain), key=rank)[:_MAX_SIGNATURES]
