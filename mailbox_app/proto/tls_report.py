"""TLS reports (RFC 8460 4): what one day's sessions with a domain's mail servers came to, as JSON, both ways.

What strangers send is read with hard bounds: sizes, numbers of policies and details, lengths of texts. Unknown fields are ignored,
missing counts are zero; what is no report at all is a `ProtocolError` (`report.*`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from mailbox_app.errors import ProtocolError

MAX_BYTES = 16 * 1024 * 1024
"""Of the JSON; the largest honest ones are some hundred KB."""
_MAX_POLICIES = 200
_MAX_DETAILS = 5_000
"""Of all policies together."""
_MAX_STRINGS = 50
_MAX_TEXT = 1_000
_MAX_COUNT = 1 << 48
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?(?:[Zz]|[+-]00:?00)\Z")


@dataclass(frozen=True, slots=True)
class FailureDetail:
    """Sessions that failed alike."""

    result: str
    """RFC 8460 4.3."""
    count: int
    sending_ip: str = ""
    mx_host: str = ""
    receiving_ip: str = ""
    helo: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """What one policy's sessions came to."""

    kind: str
    """tlsa, sts or no-policy-found."""
    domain: str
    strings: Sequence[str] = ()
    mx_hosts: Sequence[str] = ()
    """The MX patterns of an MTA-STS policy."""
    succeeded: int = 0
    failed: int = 0
    details: Sequence[FailureDetail] = ()


@dataclass(frozen=True, slots=True)
class TlsReport:
    """The whole."""

    organization: str
    contact: str
    report_id: str
    begin_seconds: int
    end_seconds: int
    policies: Sequence[PolicyReport]


def compose(report: TlsReport) -> bytes:
    """The JSON, the same for the same report."""
    return msgspec.json.encode(
        {
            "organization-name": report.organization,
            "date-range": {
                "start-datetime": _written(report.begin_seconds),
                "end-datetime": _written(report.end_seconds),
            },
            "contact-info": report.contact,
            "report-id": report.report_id,
            "policies": [_policy(each) for each in report.policies],
        }
    )


def _policy(policy: PolicyReport) -> dict[str, Any]:
    about: dict[str, Any] = {"policy-type": policy.kind, "policy-domain": policy.domain}
    if policy.strings:
        about["policy-string"] = list(policy.strings)
    if policy.mx_hosts:
        about["mx-host"] = list(policy.mx_hosts)
    written: dict[str, Any] = {
        "policy": about,
        "summary": {
            "total-successful-session-count": policy.succeeded,
            "total-failure-session-count": policy.failed,
        },
    }
    if policy.details:
        written["failure-details"] = [_detail(each) for each in policy.details]
    return written


def _detail(detail: FailureDetail) -> dict[str, Any]:
    named = {
        "sending-mta-ip": detail.sending_ip,
        "receiving-mx-hostname": detail.mx_host,
        "receiving-mx-helo": detail.helo,
        "receiving-ip": detail.receiving_ip,
        "failure-reason-code": detail.reason,
    }
    return {
        "result-type": detail.result,
        **{name: text for name, text in named.items() if text},
        "failed-session-count": detail.count,
    }


def _written(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def read_report(pieces: Iterator[bytes]) -> TlsReport:
    """A report from its unpacked bytes."""
    data = bytearray()
    for piece in pieces:
        data += piece
        if len(data) > MAX_BYTES:
            raise _error("too_large", "the report is too large")
    try:
        raw = msgspec.json.decode(bytes(data).removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _error("unreadable", "the report is no JSON") from error
    if not isinstance(raw, Mapping) or not isinstance(raw.get("policies"), list):
        raise _error("unreadable", "the JSON is no TLS report")
    period = raw.get("date-range")
    begin, end = (_seconds(period, name) for name in ("start-datetime", "end-datetime"))
    room = _MAX_DETAILS
    policies = []
    for each in raw["policies"][:_MAX_POLICIES]:
        if isinstance(each, Mapping):
            policies.append(_read_policy(each, room))
            room -= len(policies[-1].details)
    if not policies:
        raise _error("unreadable", "the TLS report tells of no policy")
    return TlsReport(
        _text(raw, "organization-name"),
        _text(raw, "contact-info"),
        _text(raw, "report-id"),
        begin,
        max(begin, end),
        policies,
    )


def _read_policy(raw: Mapping[str, Any], room: int) -> PolicyReport:
    about = raw.get("policy")
    about = about if isinstance(about, Mapping) else {}
    summary = raw.get("summary")
    summary = summary if isinstance(summary, Mapping) else {}
    details = raw.get("failure-details")
    return PolicyReport(
        _text(about, "policy-type"),
        _text(about, "policy-domain").lower().rstrip("."),
        _texts(about.get("policy-string")),
        _texts(about.get("mx-host")),
        _count(summary.get("total-successful-session-count")),
        _count(summary.get("total-failure-session-count")),
        [
            _read_detail(each)
            for each in (details if isinstance(details, list) else [])[:room]
            if isinstance(each, Mapping)
        ],
    )


def _read_detail(raw: Mapping[str, Any]) -> FailureDetail:
    # failure-error-code is what an early draft called it
    reason = (
        _text(raw, "failure-reason-code") or _text(raw, "failure-error-code") or _text(raw, "additional-information")
    )
    return FailureDetail(
        _text(raw, "result-type"),
        _count(raw.get("failed-session-count")),
        _text(raw, "sending-mta-ip"),
        _text(raw, "receiving-mx-hostname"),
        _text(raw, "receiving-ip"),
        _text(raw, "receiving-mx-helo"),
        reason,
    )


def _seconds(period: object, name: str) -> int:
    found = _TIME.match(_text(period, name)) if isinstance(period, Mapping) else None
    if found is None:
        raise _error("unreadable", "the report's period cannot be read")
    try:
        return int(datetime(*map(int, found.groups()), tzinfo=UTC).timestamp())  # type: ignore[misc,arg-type]
    except ValueError as error:
        raise _error("unreadable", "the report's period cannot be read") from error


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    return value[:_MAX_TEXT] if isinstance(value, str) else ""


def _texts(value: object) -> Sequence[str]:
    listed = value if isinstance(value, list) else [value]
    return [each[:_MAX_TEXT] for each in listed[:_MAX_STRINGS] if isinstance(each, str)]


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_COUNT else 0


def _error(code: str, text: str) -> ProtocolError:
    return ProtocolError(f"report.{code}", text)
