"""DMARC aggregate reports: composed and read, in the form of RFC 9990 and in the one of RFC 7489 Appendix C.

Values and the writing are here, the reading is in `dmarc_report_reader.py`. Composing is deterministic, and what was composed
reads back the same. The newer form has a namespace and the disposition "pass"; the older one has pct.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NAMESPACE = "urn:ietf:params:xml:ns:dmarc-2.0"
MAX_SIGNATURES = 100
"""Of one row. RFC 9990 3.1.3."""
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BLANKS = re.compile(r"\s+")
_NEWER_REASONS = frozenset({"local_policy", "mailing_list", "other", "policy_test_mode", "trusted_forwarder"})
_OLDER_REASONS = frozenset({"forwarded", "sampled_out", "trusted_forwarder", "mailing_list", "local_policy", "other"})


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a row's disposition is not what the policy asks for."""

    kind: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class DkimLine:
    """One signature."""

    domain: str
    selector: str
    result: str


@dataclass(frozen=True, slots=True)
class SpfLine:
    """One SPF result; `scope` is mfrom, or helo in the older form."""

    domain: str
    result: str
    scope: str = "mfrom"


@dataclass(frozen=True, slots=True)
class Row:
    """So many messages of one source that fared alike."""

    source_ip: str
    count: int
    disposition: str
    """none, pass, quarantine or reject."""
    dkim: str
    """pass or fail, of DMARC: a valid signature of the author's organization."""
    spf: str
    header_from: str
    envelope_from: str = ""
    envelope_to: str = ""
    reasons: Sequence[Reason] = ()
    signatures: Sequence[DkimLine] = ()
    spf_results: Sequence[SpfLine] = ()

    @property
    def passed(self) -> bool:
        """Whether DMARC passed."""
        return "pass" in (self.dkim, self.spf)


@dataclass(frozen=True, slots=True)
class Published:
    """The policy the reporter found."""

    domain: str
    policy: str = "none"
    subdomain_policy: str = ""
    missing_policy: str = ""
    dkim_alignment: str = "r"
    spf_alignment: str = "r"
    percent: int | None = None
    """pct, of the older form only."""
    testing: bool = False
    failure_options: str = ""
    discovery: str = ""
    """psl or treewalk."""


@dataclass(frozen=True, slots=True)
class DmarcReport:
    """One report: one policy domain, one period, one reporter."""

    organization: str
    email: str
    report_id: str
    begin_seconds: int
    end_seconds: int
    published: Published
    rows: Sequence[Row]
    contact: str = ""
    generator: str = ""
    errors: Sequence[str] = ()
    is_newer: bool = True
    """The form of RFC 9990; False: of RFC 7489."""
    is_cut: bool = False
    """There were more rows than are kept of one report."""


def compose(report: DmarcReport) -> bytes:
    """The XML document."""
    return "".join(_document(report)).encode("utf-8")


def _document(report: DmarcReport) -> Iterator[str]:
    newer = report.is_newer
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield f'<feedback xmlns="{NAMESPACE}">\n' if newer else "<feedback>\n"
    yield " <version>1.0</version>\n <report_metadata>\n"
    yield _element("org_name", report.organization, 2) + _element("email", report.email, 2)
    if report.contact:
        yield _element("extra_contact_info", report.contact, 2)
    yield _element("report_id", report.report_id, 2)
    yield f"  <date_range>\n   <begin>{report.begin_seconds}</begin>\n   <end>{report.end_seconds}</end>\n  </date_range>\n"
    for error in report.errors:
        yield _element("error", error, 2)
    if newer and report.generator:
        yield _element("generator", report.generator, 2)
    yield " </report_metadata>\n"
    yield from _published(report.published, newer=newer)
    for row in report.rows:
        yield from _record(row, newer=newer)
    yield "</feedback>\n"


def _published(policy: Published, *, newer: bool) -> Iterator[str]:
    yield " <policy_published>\n" + _element("domain", policy.domain, 2)
    if newer and policy.discovery:
        yield _element("discovery_method", policy.discovery, 2)
    if not newer:
        yield _element("adkim", policy.dkim_alignment, 2) + _element("aspf", policy.spf_alignment, 2)
    yield _element("p", policy.policy, 2)
    yield _element("sp", policy.subdomain_policy or policy.policy, 2)
    if newer:
        if policy.missing_policy:
            yield _element("np", policy.missing_policy, 2)
        if policy.failure_options:
            yield _element("fo", policy.failure_options, 2)
        yield _element("adkim", policy.dkim_alignment, 2) + _element("aspf", policy.spf_alignment, 2)
        yield _element("testing", "y" if policy.testing else "n", 2)
    else:
        yield _element("pct", str(100 if policy.percent is None else policy.percent), 2)
        yield _element("fo", policy.failure_options or "0", 2)
    yield " </policy_published>\n"


def _record(row: Row, *, newer: bool) -> Iterator[str]:
    yield " <record>\n  <row>\n" + _element("source_ip", row.source_ip, 3) + _element("count", str(row.count), 3)
    disposition = "none" if row.disposition == "pass" and not newer else row.disposition
    yield "   <policy_evaluated>\n" + _element("disposition", disposition, 4)
    yield _element("dkim", row.dkim, 4) + _element("spf", row.spf, 4)
    for reason in row.reasons:
        known = reason.kind in (_NEWER_REASONS if newer else _OLDER_REASONS)
        kind = reason.kind if known else "other"
        comment = reason.comment if known else f"{reason.kind} {reason.comment}".strip()
        yield "    <reason>\n" + _element("type", kind, 5) + (_element("comment", comment, 5) if comment else "")
        yield "    </reason>\n"
    yield "   </policy_evaluated>\n  </row>\n  <identifiers>\n"
    if row.envelope_to:
        yield _element("envelope_to", row.envelope_to, 3)
    yield _element("envelope_from", row.envelope_from, 3) + _element("header_from", row.header_from, 3)
    yield "  </identifiers>\n  <auth_results>\n"
    for dkim in row.signatures[:MAX_SIGNATURES]:
        yield "   <dkim>\n" + _element("domain", dkim.domain, 4) + _element("selector", dkim.selector, 4)
        yield _element("result", dkim.result, 4) + "   </dkim>\n"
    for spf in row.spf_results:
        yield "   <spf>\n" + _element("domain", spf.domain, 4) + _element("scope", spf.scope, 4)
        yield _element("result", spf.result, 4) + "   </spf>\n"
    yield "  </auth_results>\n </record>\n"


def _element(name: str, value: str, depth: int) -> str:
    return f"{' ' * depth}<{name}>{_text(value)}</{name}>\n"


def _text(value: str) -> str:
    """What XML can carry, with white space as its readers see it."""
    value = _BLANKS.sub(" ", _ILLEGAL.sub("?", value)).strip()
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
