"""DMARC: the policy of the visible author's domain, and whether SPF or DKIM passed for that domain (RFC 9989, RFC 7489).

The result says what the domain's owner asks for this message (`disposition`), after the share of pct=, the test mode of t=,
and the word of a forwarder this server trusts; each of these is named among the overrides. Nothing is decided here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from mailbox_app.mailauth.organizations import Organizations, exists
from mailbox_app.mailauth.results import (
    ArcResult,
    ArcSet,
    DkimResult,
    DmarcRecord,
    DmarcResult,
    OverrideKind,
    Result,
    SpfResult,
)
from mailbox_app.net.resolver import Resolver
from mailbox_app.proto.address import parse_address_list
from mailbox_app.proto.address_list import AUTHOR_BYTES
from mailbox_app.proto.authres import parse_authres
from mailbox_app.proto.domain_names import a_labels
from mailbox_app.proto.header import Header

_DOMAIN = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
# A From of more domains has no honest reason, and each costs look-ups.
_MAX_AUTHORS = 3
_MILDER = {"reject": "quarantine", "quarantine": "none", "none": "none"}
_WORST = {Result.FAIL: 0, Result.TEMPERROR: 1, Result.PERMERROR: 2, Result.NONE: 3, Result.PASS: 4}
_STRICTEST = {"reject": 0, "quarantine": 1, "none": 2}


def author_domains(header: Header) -> Sequence[str] | str:
    """The domains of the From field, in lower case and ASCII, or why there are none."""
    values = header.all(b"from")
    if len(values) != 1:
        return "there is no From field" if not values else "there is more than one From field"
    if len(values[0]) > AUTHOR_BYTES:
        return "the From field is too long"
    found: dict[str, None] = {}
    for address in parse_address_list(values[0]):
        if not address.domain:
            continue
        text = _ascii(address.domain.decode("utf-8", "replace"))
        if len(text) > 253 or not _DOMAIN.fullmatch(text):
            return "the From field does not name a domain"
        found[text] = None
    if len(found) > _MAX_AUTHORS:
        return "the From field names too many domains"
    return tuple(found) or "the From field does not name a domain"


def author_domain(header: Header) -> str | None:
    """The one domain of the From field; None when there is none or more than one."""
    domains = author_domains(header)
    return None if isinstance(domains, str) or len(domains) != 1 else domains[0]


def _ascii(domain: str) -> str:
    """A domain as it is compared; "" for none that could be."""
    return (domain if domain.isascii() else a_labels(domain) or "").lower().rstrip(".")


def _vouched_for(sealed: ArcSet) -> Sequence[str]:
    """The authors' domains that passed DMARC when they came to a sealer."""
    _, methods = parse_authres(sealed.results.encode())
    return [
        value.lower().rpartition("@")[2].rstrip(".")
        for method in methods
        if method.name == "dmarc" and method.result == "pass"
        for name, value in method.properties
        if name == "header.from"
    ]


class Dmarc:
    """Evaluates one message; keeps the records it asked for."""

    def __init__(self, resolver: Resolver, *, lot: float = 0.0, trusted_sealers: Collection[str] = ()) -> None:
        """`lot` is drawn from [0, 1) for pct=; of the `trusted_sealers` (domains) a chain is believed."""
        self._resolver = resolver
        self._organizations = Organizations(resolver)
        self._lot = lot
        self._trusted = trusted_sealers

    async def evaluate(
        self, header: Header, spf: SpfResult, dkim: Sequence[DkimResult], arc: ArcResult | None = None
    ) -> DmarcResult:
        """The result for one message; raises `ResolveError` when DNS could not be asked.

        Several domains in the From field are each evaluated, and the worst counts (RFC 9989 4.2: a receiver's choice), so
        naming a harmless one beside a protected one gains nothing.
        """
        domains = author_domains(header)
        if isinstance(domains, str):
            return DmarcResult(Result.PERMERROR, reason=domains)
        results = [await self._of(domain, spf, dkim) for domain in domains]
        result = min(results, key=lambda each: (_WORST[each.result], _STRICTEST.get(each.policy, 3)))
        if len(results) > 1 and result.result is not Result.PASS:
            result = replace(result, reason="the From field names several domains")
        if result.result is Result.FAIL:
            result = self._treatment(result, arc)
        listed = header.count(b"list-id") > 0 or header.count(b"list-post") > 0
        return replace(result, mailing_list=listed)

    async def _of(self, author: str, spf: SpfResult, dkim: Sequence[DkimResult]) -> DmarcResult:
        record = await self._organizations.policy(author)
        if record is None:
            return DmarcResult(Result.NONE, author)
        if not record.policy:
            return DmarcResult(Result.NONE, author, record_domain=record.domain, reason="the record names no policy")
        organization, _ = await self._organizations.find(author)
        by_dkim = await self._any_aligned(
            [result.domain for result in dkim if result.result is Result.PASS], author, strict=record.strict_dkim
        )
        by_spf = spf.result is Result.PASS and await self._any_aligned([spf.domain], author, strict=record.strict_spf)
        draft = DmarcResult(
            Result.PASS,
            author,
            await self._policy(record, author),
            record.domain,
            testing=record.testing,
            spf_aligned=by_spf,
            dkim_aligned=by_dkim,
            organization=organization,
            record=record,
        )
        if by_dkim or by_spf:
            return draft
        if await self._could_have_passed(record, author, spf, dkim):
            return replace(draft, result=Result.TEMPERROR, reason="a check could not be made")
        return replace(draft, result=Result.FAIL)

    async def _could_have_passed(
        self, record: DmarcRecord, author: str, spf: SpfResult, dkim: Sequence[DkimResult]
    ) -> bool:
        """Whether DNS kept back a check that would have counted: not one of a stranger, whose name servers anyone can be."""
        if spf.result is Result.TEMPERROR and (
            not spf.domain or await self._any_aligned([spf.domain], author, strict=record.strict_spf)
        ):
            return True
        unsure = [each.domain for each in dkim if each.result is Result.TEMPERROR]
        return "" in unsure or await self._any_aligned(unsure, author, strict=record.strict_dkim)

    async def _any_aligned(self, domains: Sequence[str], author: str, *, strict: bool) -> bool:
        for domain in dict.fromkeys(map(_ascii, domains)):
            if domain == author or (not strict and domain and await self._organizations.share(domain, author)):
                return True
        return False

    async def _policy(self, record: DmarcRecord, author: str) -> str:
        """p= for the domain itself; sp= or np= when the record stands above it. RFC 9989 4.7."""
        if record.domain == author:
            return record.policy
        below = record.subdomain_policy or record.policy
        if record.missing_policy and not await exists(self._resolver, author):
            return record.missing_policy
        return below

    def _treatment(self, result: DmarcResult, arc: ArcResult | None) -> DmarcResult:
        """What the owner asks for a message that failed."""
        record = result.record
        assert record is not None
        result = replace(result, disposition=result.policy)
        if arc is not None and (sealer := self._vouched(result, arc)):
            return result.overridden(OverrideKind.TRUSTED_FORWARDER, "none", sealer)
        if record.testing and result.policy != "none":  # RFC 9989 4.7: one step milder
            return result.overridden(OverrideKind.TEST_MODE, _MILDER[result.policy], "t=y")
        # RFC 7489 6.6.4: who is not drawn gets the next milder treatment
        if result.policy != "none" and self._lot * 100 >= record.percent:
            return result.overridden(OverrideKind.SAMPLED_OUT, _MILDER[result.policy], f"pct={record.percent}")
        return result

    def _trusts(self, sealer: str) -> bool:
        """Whether the sealer is one of those named, or below one."""
        names = [name.strip().lower().rstrip(".") for name in self._trusted]
        return any(name and (sealer == name or sealer.endswith("." + name)) for name in names)

    def _vouched(self, result: DmarcResult, arc: ArcResult) -> str:
        """A trusted sealer of a valid chain that saw this author pass, in the words reports use. RFC 8617 7.2.2.

        Every set from the vouching one on must be of a trusted sealer: whoever came later could have changed the message.
        """
        if arc.result is not Result.PASS:
            return ""
        for each in reversed(arc.sets):
            if not self._trusts(each.domain):
                return ""
            if result.domain in _vouched_for(each):
                words = [f"as[{one.instance}].d={one.domain} as[{one.instance}].s={one.selector}" for one in arc.sets]
                return " ".join(["arc=pass", *words])[:500]
        return ""
