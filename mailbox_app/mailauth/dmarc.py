"""DMARC: the policy of the visible author's domain, and whether SPF or DKIM passed for that domain.

The organizational domain is found by walking up the DNS tree (at most eight look-ups a name) instead of by a list of
public suffixes. The result is only reported here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mailbox_app.mailauth.results import DkimResult, DmarcResult, Result, SpfResult
from mailbox_app.net.resolver import Resolver
from mailbox_app.proto.address import parse_address_list
from mailbox_app.proto.header import Header

# RFC 9989 4.10: the walk asks at most eight names, so a name of very many labels costs no more than another.
_MAX_WALK = 8
_MAX_RECORD = 4_096
_POLICIES = frozenset(("none", "quarantine", "reject"))
_DOMAIN = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")


@dataclass(frozen=True, slots=True)
class Record:
    """A DMARC record and where it stands."""

    domain: str
    tags: Mapping[str, str] = field(default_factory=dict)


def author_domain(header: Header) -> str | None:
    """The one domain of the From field, in lower case and ASCII; None when there is none or more than one."""
    values = header.all(b"from")
    if len(values) != 1:
        return None
    domains = {address.domain.lower() for address in parse_address_list(values[0]) if address.domain}
    if len(domains) != 1:
        return None
    try:
        text = domains.pop().decode("utf-8")
        text = (text if text.isascii() else text.encode("idna").decode("ascii")).rstrip(".").lower()
    except UnicodeError:
        return None
    return text if len(text) <= 253 and _DOMAIN.fullmatch(text) else None


def parse_record(text: str) -> Mapping[str, str] | None:
    """The tags of a record; None when it is no DMARC record."""
    first, *rest = [piece.partition("=") for piece in text.split(";")]
    if first[0].strip() != "v" or first[2].strip() != "DMARC1":
        return None
    tags: dict[str, str] = {}
    for name, separator, value in rest:
        if separator:
            tags.setdefault(name.strip().lower(), value.strip().lower())
    return tags


class Dmarc:
    """DMARC evaluation for one message; remembers the records it met."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._records: dict[str, Mapping[str, str] | None] = {}

    async def _record(self, domain: str) -> Mapping[str, str] | None:
        if domain not in self._records:
            answer = await self._resolver.query(f"_dmarc.{domain}", "TXT")
            found = [
                tags for text in answer.records if len(text) <= _MAX_RECORD and (tags := parse_record(text)) is not None
            ]
            # RFC 9989 4.7: several records count as none
            self._records[domain] = found[0] if len(found) == 1 else None
        return self._records[domain]

    async def _walk(self, domain: str) -> Sequence[Record]:
        """The records at the domain and above it, longest name first, until one says that the walk ends."""
        labels = domain.split(".")
        starts = list(range(len(labels)))
        if len(starts) > _MAX_WALK:
            starts = [0, *starts[-(_MAX_WALK - 1) :]]
        found: list[Record] = []
        for start in starts:
            name = ".".join(labels[start:])
            tags = await self._record(name)
            if tags is not None:
                found.append(Record(name, tags))
                if tags.get("psd") in ("y", "n"):
                    break
        return found

    async def organization(self, domain: str) -> str:
        """The organizational domain of a name; the name itself when no record says otherwise."""
        records = await self._walk(domain)
        for record in records:
            if record.tags.get("psd") == "n":
                return record.domain
            if record.tags.get("psd") == "y" and record.domain != domain:
                below = len(record.domain.split(".")) + 1
                return ".".join(domain.split(".")[-below:])
        return records[-1].domain if records else domain

    async def _policy_record(self, domain: str) -> Record | None:
        """The record at the domain, else the one of its organization, else of a public suffix above."""
        own = await self._record(domain)
        if own is not None:
            return Record(domain, own)
        records = await self._walk(domain)
        organization = await self.organization(domain)
        for record in records:
            if record.domain == organization:
                return record
        return records[-1] if records and records[-1].tags.get("psd") == "y" else None

    async def _aligned(self, domain: str, author: str, *, strict: bool) -> bool:
        domain = domain.lower().rstrip(".")
        if domain == author:
            return True
        if strict:
            return False
        shared = 0
        for one, other in zip(reversed(domain.split(".")), reversed(author.split(".")), strict=False):
            if one != other:
                break
            shared += 1
        if shared == 0:
            return False  # no name in common, so no organization: nothing to ask
        return await self.organization(domain) == await self.organization(author)

    async def evaluate(self, header: Header, spf: SpfResult, dkim: Sequence[DkimResult]) -> DmarcResult:
        """The result for one message; raises `ResolveError` when DNS could not be asked."""
        author = author_domain(header)
        if author is None:
            return DmarcResult(Result.PERMERROR, reason="the From field does not name one domain")
        record = await self._policy_record(author)
        if record is None:
            return DmarcResult(Result.NONE, author)
        tags = record.tags
        policy = await self._policy(record, author)
        testing = tags.get("t") == "y"
        passed = [(result.domain, tags.get("adkim") == "s") for result in dkim if result.result is Result.PASS]
        if spf.result is Result.PASS:
            passed.append((spf.domain, tags.get("aspf") == "s"))
        for domain, strict in passed:
            if await self._aligned(domain, author, strict=strict):
                return DmarcResult(Result.PASS, author, policy, record.domain, "", testing)
        if Result.TEMPERROR in (spf.result, *(result.result for result in dkim)):
            return DmarcResult(Result.TEMPERROR, author, policy, record.domain, "a check could not be made", testing)
        return DmarcResult(Result.FAIL, author, policy, record.domain, "", testing)

    async def _policy(self, record: Record, author: str) -> str:
        """p= for the domain itself; sp= or np= when the record stands above it."""
        tags = record.tags
        policy = tags.get("p", "none")
        if record.domain != author:
            policy = tags.get("sp", policy)
            if "np" in tags and not (await self._resolver.query(author, "A")).exists:
                policy = tags["np"]
        return policy if policy in _POLICIES else "none"
