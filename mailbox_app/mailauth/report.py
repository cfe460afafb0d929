"""The Authentication-Results field and the log's summary of what the checks found (RFC 8601, RFC 8617 10.2)."""

from __future__ import annotations

from collections.abc import Sequence

from mailbox_app.mailauth.results import (
    ArcResult,
    AuthResults,
    DkimResult,
    DmarcResult,
    IprevResult,
    Result,
    SpfResult,
)
from mailbox_app.proto.authres import Method, compose_authres

_STRONG_RSA_BITS = 2_048  # RFC 8301 3.2: signers should use no less


def report(
    service_id: str,
    remote_ip: str,
    spf: SpfResult,
    dkim: Sequence[DkimResult],
    dmarc: DmarcResult,
    arc: ArcResult,
    iprev: IprevResult | None,
) -> AuthResults:
    """All results with the field that tells them."""
    methods = [_spf(spf)]
    if spf.helo is not None:
        methods.append(_spf(spf.helo))
    methods.extend(map(_dkim, dkim) if dkim else (Method("dkim", "none"),))
    methods.append(_dmarc(dmarc))
    summary = f"spf={spf.result} dkim={_best(dkim)} dmarc={dmarc.result}"
    if arc.result is not Result.NONE:
        methods.append(_arc(arc, remote_ip))
        summary += f" arc={arc.result}"
    if iprev is not None:
        methods.append(_iprev(iprev))
    return AuthResults(compose_authres(service_id, methods), summary, spf, tuple(dkim), dmarc, arc, iprev, remote_ip)


def _best(dkim: Sequence[DkimResult]) -> str:
    words = [str(result.result) for result in dkim] or ["none"]
    return "pass" if "pass" in words else words[0]


def _spf(spf: SpfResult) -> Method:
    properties = [(f"smtp.{spf.identity}", spf.sender)] if spf.sender else []
    return Method("spf", spf.result, properties, comment=spf.reason)


def _dkim(dkim: DkimResult) -> Method:
    pairs = (
        ("header.d", dkim.domain),
        ("header.s", dkim.selector),
        ("header.a", dkim.algorithm),
        ("header.b", dkim.signature),
    )
    notes = [dkim.reason] if dkim.reason else []
    if dkim.body_limited and dkim.result is Result.PASS:
        notes.append("signed with a body limit")
    if 0 < dkim.key_bits < _STRONG_RSA_BITS:
        notes.append(f"{dkim.key_bits}-bit key")
    if dkim.testing:
        notes.append("test key")
    return Method("dkim", dkim.result, [pair for pair in pairs if pair[1]], comment=", ".join(notes))


def _dmarc(dmarc: DmarcResult) -> Method:
    notes = [f"p={dmarc.policy}"] if dmarc.policy else [dmarc.reason] if dmarc.reason else []
    if dmarc.overrides:
        notes.append(f"dis={dmarc.disposition}")
        notes.extend(str(override.kind) for override in dmarc.overrides)
    properties = [("header.from", dmarc.domain)] if dmarc.domain else []
    return Method("dmarc", dmarc.result, properties, comment=" ".join(notes))


def _arc(arc: ArcResult, remote_ip: str) -> Method:
    properties = [("smtp.remote-ip", remote_ip)] if remote_ip else []
    comment = arc.reason
    if arc.result is Result.PASS:
        properties.insert(0, ("header.oldest-pass", str(arc.oldest_pass)))
        comment = f"i={arc.instance} d={arc.sets[-1].domain}"
    return Method("arc", arc.result, properties, comment=comment)


def _iprev(iprev: IprevResult) -> Method:
    return Method("iprev", iprev.result, [("policy.iprev", iprev.remote_ip)], comment=iprev.name or iprev.reason)
