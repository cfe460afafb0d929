"""DANE for mail servers: which keys a host's own DNS vouches for, and whether the server has one of them. RFC 7672

Only answers that a trusted, validating resolver calls authenticated count; where MX or addresses are not signed there is no DANE
and nothing is asked. A TLSA lookup that fails is not the same as no records: somebody may be keeping them from us, so the host is
not used (`DaneTrouble`, temporary). Records of which none can be used bind to encryption, to no particular key (2.2).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mailbox_app.errors import MailboxError, ResolveError
from mailbox_app.net.resolver import Answer, Resolver
from mailbox_app.outbound.next_hop import MailHost
from mailbox_app.outbound.tls.certificate_paths import leads_to
from mailbox_app.proto.tlsa import Tlsa, usable_records


class DaneTrouble(MailboxError):
    """Whether the host has TLSA records could not be found out safely."""


@dataclass(frozen=True, slots=True)
class DaneFinding:
    """The TLSA records of one host."""

    base: str
    """Whose records they are; also the name to say in the handshake (RFC 7672 2.2.3)."""
    records: Sequence[Tlsa]
    """The usable ones; empty: there are some, but none of use."""
    names: Sequence[str]
    """With usage 2 the certificate must bear one of them (3.2.2)."""
    published: Sequence[str]
    """As DNS has them, for reports."""


async def look_up(resolver: Resolver, host: MailHost, domain: str) -> DaneFinding | None:
    """The host's DANE, None when it has none; `DaneTrouble` when nobody can say."""
    if not (host.is_proven or host.trusted) or _is_address(host.name):
        return None
    for base in await _bases(resolver, host.name):
        place = f"_{host.port}._tcp.{base}"
        try:
            answer = await resolver.query(place, "TLSA")
        except ResolveError as error:
            text = f"the TLSA records of {host.name} cannot be looked up safely, so it is not used now"
            raise DaneTrouble("dane.lookup_failed", text, temporary=True) from error
        if answer.records and answer.authenticated:
            names = tuple(dict.fromkeys((base, host.name, domain)))
            return DaneFinding(base, usable_records(answer.records), names, tuple(answer.records))
    return None


async def _bases(resolver: Resolver, name: str) -> Sequence[str]:
    """Names below which TLSA records count, best first. RFC 7672 2.2.2, RFC 7671 7."""
    results = await asyncio.gather(resolver.query(name, "A"), resolver.query(name, "AAAA"), return_exceptions=True)
    answers: list[Answer] = []
    for result in results:
        if isinstance(result, Answer):
            if result.records:
                answers.append(result)
        elif not isinstance(result, ResolveError):
            raise result
    if answers and all(answer.authenticated for answer in answers):
        canonical = answers[0].canonical
        return tuple(dict.fromkeys((canonical, name))) if canonical else (name,)
    try:  # signed up to an alias that leads to where nothing is
        alias = await resolver.query(name, "CNAME")
    except ResolveError:
        return ()
    return (name,) if alias.records and alias.authenticated else ()


def verify(finding: DaneFinding, chain: Sequence[bytes], now: datetime) -> str:
    """ "" when the server's chain is what the records say; else why it is not."""
    if not chain:
        return "the server sent no certificate"
    if any(record.usage == 3 and record.matches(chain[0]) for record in finding.records):
        return ""  # RFC 7672 3.1.1: names and dates are of no interest
    reasons: list[str] = []
    for record in finding.records:
        if record.usage != 2:
            continue
        anchors = [certificate for certificate in chain if record.matches(certificate)]
        if not anchors and record.matching == 0 and record.selector == 0:
            anchors = [record.data]
        for anchor in anchors:
            if not (reason := leads_to(chain, anchor, finding.names, now)):
                return ""
            reasons.append(reason)
    return reasons[0] if reasons else "no TLSA record speaks of the server's certificate"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
