"""Methods `report.*`: what other servers report about mail in our domains' names, and which reports we sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from msgspec import Meta, Struct

from mailbox_app.accounts.addresses import canonical_domain
from mailbox_app.control.context import ControlContext
from mailbox_app.control.schema import Call, Count, Method, Params
from mailbox_app.errors import MailboxError
from mailbox_app.journal.received_reports import Received, Source
from mailbox_app.policy.report_advice import advice
from mailbox_app.policy.state.sent_reports import DAY_SECONDS, Sent
from mailbox_app.proto.dmarc_report import Row
from mailbox_app.proto.plain_text import clean
from mailbox_app.proto.tls_report import PolicyReport

_MAX_ROWS = 1_000
_DAYS = 30

Days = Annotated[int, Meta(ge=1, le=3650)]
Domain = Annotated[str, Meta(max_length=253)]


class ReportPage(Params):
    """One page of received reports. `domain`: only those about it; `days`: whose period ended so lately."""

    domain: Domain = ""
    days: Days = _DAYS
    offset: Count = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000


class ReportNo(Params):
    """Which report, by the number that the list shows."""

    report_no: Count


class SummaryQuestion(Params):
    """Over which domain ("": all) and days. `unproven`: count reports, too, whose sender nothing proves."""

    domain: Domain = ""
    days: Days = _DAYS
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    unproven: bool = False


class SentQuestion(Params):
    """Reports we sent about a domain ("": all)."""

    domain: Domain = ""
    days: Days = _DAYS
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000


class ReportView(Struct):
    """One report somebody sent us."""

    report_no: int
    kind: str
    """dmarc or tls."""
    domain: str
    organization: str
    """Who reports."""
    report_id: str
    begin_at: datetime
    end_at: datetime
    received_at: datetime
    sender: str
    proven: bool
    """SPF or DKIM prove the domain of its sender."""
    messages: int
    passed: int


class ReportList(Struct):
    """One page, latest period first; `total` counts all."""

    reports: list[ReportView]
    total: int


class SignatureView(Struct):
    """One DKIM result."""

    domain: str
    selector: str
    result: str


class SpfView(Struct):
    """One SPF result."""

    domain: str
    scope: str
    result: str


class RowView(Struct):
    """What one source sent and how it fared."""

    source_ip: str
    count: int
    disposition: str
    dkim: str
    spf: str
    header_from: str
    envelope_from: str
    envelope_to: str
    reasons: list[str]
    signatures: list[SignatureView]
    spf_results: list[SpfView]


class PolicyView(Struct):
    """The policy the reporter found."""

    domain: str
    policy: str
    subdomain_policy: str
    missing_policy: str
    dkim_alignment: str
    spf_alignment: str
    testing: bool
    percent: int | None


class ReportDetail(Struct):
    """One report whole; `rows` are the largest ones, `row_count` all."""

    report: ReportView
    email: str
    contact: str
    generator: str
    errors: list[str]
    policy: PolicyView
    rows: list[RowView]
    row_count: int


class TlsFailureView(Struct):
    """Sessions that failed alike."""

    result: str
    count: int
    sending_ip: str
    mx_host: str
    receiving_ip: str
    reason: str


class TlsPolicyView(Struct):
    """What one policy's sessions came to."""

    kind: str
    """tlsa, sts or no-policy-found."""
    domain: str
    strings: list[str]
    mx_hosts: list[str]
    succeeded: int
    failed: int
    failures: list[TlsFailureView]


class TlsDetail(Struct):
    """One TLS report whole."""

    report: ReportView
    contact: str
    policies: list[TlsPolicyView]


class SourceView(Struct):
    """One address over all reports."""

    source_ip: str
    messages: int
    passed: int
    failed: int
    quarantined: int
    rejected: int
    header_from: str
    """Of the largest part that failed."""
    advice: str


class Summary(Struct):
    """What was sent in a domain's name, the busiest sources first."""

    domain: str
    since_at: datetime
    reports: int
    organizations: int
    messages: int
    passed: int
    sources: list[SourceView]


class SentView(Struct):
    """One report of ours, to one address."""

    domain: str
    begin_at: datetime
    address: str
    at: datetime
    outcome: str
    """queued, posted, or why it was not."""
    messages: int
    kind: str


class SentList(Struct):
    """Latest first."""

    sent: list[SentView]


async def list_reports(context: ControlContext, _call: Call, params: ReportPage) -> ReportList:
    """Who reported."""
    rows, total = await context.offload.run(
        context.reports.reports,
        canonical_domain(params.domain),
        _since(context, params.days).timestamp(),
        params.limit,
        params.offset,
    )
    return ReportList([_report(row) for row in rows], total)


async def show(context: ControlContext, _call: Call, params: ReportNo) -> ReportDetail:
    """One report."""
    found = await context.offload.run(context.reports.dmarc, params.report_no, _MAX_ROWS)
    if found is None:
        raise MailboxError("report.unknown", f"there is no report with number {params.report_no}", temporary=False)
    received, report = found
    policy = report.published
    return ReportDetail(
        _report(received),
        report.email,
        report.contact,
        report.generator,
        list(report.errors),
        PolicyView(
            policy.domain,
            policy.policy,
            policy.subdomain_policy,
            policy.missing_policy,
            policy.dkim_alignment,
            policy.spf_alignment,
            policy.testing,
            policy.percent,
        ),
        [_row(row) for row in report.rows],
        received.row_count,
    )


async def show_tls(context: ControlContext, _call: Call, params: ReportNo) -> TlsDetail:
    """One TLS report."""
    found = await context.offload.run(context.reports.tls, params.report_no)
    if found is None:
        raise MailboxError("report.unknown", f"there is no TLS report with number {params.report_no}", temporary=False)
    received, report = found
    return TlsDetail(_report(received), report.contact, [_policy(each) for each in report.policies])


def _policy(policy: PolicyReport) -> TlsPolicyView:
    return TlsPolicyView(
        policy.kind, policy.domain, list(policy.strings), list(policy.mx_hosts), policy.succeeded, policy.failed,
        [
            TlsFailureView(each.result, each.count, each.sending_ip, each.mx_host, each.receiving_ip, each.reason)
            for each in policy.details[:_MAX_ROWS]
        ],
    )  # fmt: skip


async def summary(context: ControlContext, _call: Call, params: SummaryQuestion) -> Summary:
    """Who sends in our name, and what to do about it."""
    domain, since = canonical_domain(params.domain), _since(context, params.days)

    def ask() -> Summary:
        totals = context.reports.totals(domain, since.timestamp(), unproven=params.unproven)
        sources = context.reports.sources(domain, since.timestamp(), params.limit, unproven=params.unproven)
        return Summary(
            domain,
            since,
            totals.reports,
            totals.organizations,
            totals.messages,
            totals.passed,
            [_source(each) for each in sources],
        )

    return await context.offload.run(ask)


async def list_sent(context: ControlContext, _call: Call, params: SentQuestion) -> SentList:
    """What we told others."""
    rows = await context.offload.run(
        context.policy_state.dmarc_rows.sent,
        canonical_domain(params.domain),
        _since(context, params.days).timestamp(),
        params.limit,
    )
    return SentList([_sent(row) for row in rows])


def _since(context: ControlContext, days: int) -> datetime:
    return context.clock.now() - timedelta(days=days)


def _report(row: Received) -> ReportView:
    return ReportView(
        row.report_no,
        row.kind,
        row.domain,
        row.organization,
        row.report_id,
        _time(row.begin_seconds),
        _time(row.end_seconds),
        _time(row.received_seconds),
        row.sender,
        row.proven,
        row.messages,
        row.passed,
    )


def _row(row: Row) -> RowView:
    return RowView(
        row.source_ip,
        row.count,
        row.disposition,
        row.dkim,
        row.spf,
        row.header_from,
        row.envelope_from,
        row.envelope_to,
        [f"{each.kind} {each.comment}".strip() for each in row.reasons],
        [SignatureView(each.domain, each.selector, each.result) for each in row.signatures],
        [SpfView(each.domain, each.scope, each.result) for each in row.spf_results],
    )


def _source(source: Source) -> SourceView:
    return SourceView(
        source.source_ip,
        source.messages,
        source.passed,
        source.messages - source.passed,
        source.quarantined,
        source.rejected,
        source.example.header_from,
        advice(source),
    )


def _sent(row: Sent) -> SentView:
    begin = _time(row.day * DAY_SECONDS)
    return SentView(
        clean(row.domain), begin, clean(row.address), _time(row.at_seconds), clean(row.outcome), row.messages, row.kind
    )


def _time(at_seconds: float) -> datetime:
    return datetime.fromtimestamp(at_seconds, UTC)


METHODS = (
    Method("report.list", ReportPage, ReportList, list_reports, "Reports that others sent about our domains."),
    Method("report.show", ReportNo, ReportDetail, show, "One of them."),
    Method("report.show_tls", ReportNo, TlsDetail, show_tls, "One TLS report."),
    Method("report.summary", SummaryQuestion, Summary, summary, "Who sends in our domains' names."),
    Method("report.sent", SentQuestion, SentList, list_sent, "Reports that we sent to others."),
)
