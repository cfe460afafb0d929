"""Which names belong to one organization: by the records in DNS, guarded and completed by the list of public suffixes.

The walk up the DNS tree (RFC 9989 4.10) is asked first. The list (RFC 7489 3.2) decides where nobody published anything
definite: it keeps a record that stands at a public suffix from making one organization of everything below it, and lets
an organization whose records stand only below its own name be one. It is loaded once for all processes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

from mailbox_app.errors import ResolveError
from mailbox_app.mailauth.dmarc_record import parse_record
from mailbox_app.mailauth.results import DmarcRecord
from mailbox_app.net.resolver import Resolver

# RFC 9989 4.10: the walk asks at most eight names, so a name of very many labels costs no more than another.
_MAX_WALK = 8
_MAX_TEXTS = 20


class _Suffixes(Protocol):
    def privatesuffix(self, domain: str, accept_unknown: bool | None = None) -> str | None:
        """The name one label below the public suffix; `accept_unknown`: also below one that the list has not."""
        ...


@lru_cache(1)
def _suffixes() -> _Suffixes:
    from publicsuffixlist import PublicSuffixList

    suffixes: _Suffixes = PublicSuffixList()
    return suffixes


def preload() -> None:
    """Load the list now (about 75 ms and 4 MB): once before the processes are forked, so they share it."""
    _suffixes()


@lru_cache(4_096)
def listed_organization(domain: str) -> str | None:
    """The organization's domain by the list of public suffixes; None for a public suffix itself."""
    return _suffixes().privatesuffix(domain)


@lru_cache(4_096)
def is_below_suffix(name: str) -> bool:
    """Whether a name lies below a suffix that the list has."""
    return _suffixes().privatesuffix(name, accept_unknown=False) is not None


class Organizations:
    """Asks for one message; keeps the records it saw."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._records: dict[str, DmarcRecord | None] = {}

    async def record(self, domain: str) -> DmarcRecord | None:
        """The record at exactly this name. Raises `ResolveError`."""
        if domain not in self._records:
            answer = await self._resolver.query(f"_dmarc.{domain}", "TXT")
            texts = answer.records[:_MAX_TEXTS]
            found = [record for text in texts if (record := parse_record(domain, text)) is not None]
            # RFC 9989 4.10.1: several records count as none
            self._records[domain] = found[0] if len(found) == 1 else None
        return self._records[domain]

    async def walk(self, domain: str) -> list[DmarcRecord]:
        """The records at the domain and above it, longest name first, until one says that the walk ends."""
        labels = domain.split(".")
        starts = list(range(len(labels)))
        if len(starts) > _MAX_WALK:
            starts = [0, *starts[-(_MAX_WALK - 1) :]]
        found: list[DmarcRecord] = []
        for start in starts:
            record = await self.record(".".join(labels[start:]))
            if record is not None:
                found.append(record)
                if record.public_suffix != "u":
                    break
        return found

    async def find(self, domain: str) -> tuple[str, bool]:
        """The organizational domain of a name, and whether a record says so in so many words (psd=). RFC 9989 4.10.2."""
        records = await self.walk(domain)
        for record in records:
            if record.public_suffix == "n":
                return record.domain, True
            if record.public_suffix == "y":
                below = len(record.domain.split(".")) + 1
                return ".".join(domain.split(".")[-below:]), True
        listed = listed_organization(domain)
        if records:
            highest = records[-1].domain
            if listed is None or len(highest) >= len(listed):
                return highest, False
        return listed or domain, False

    async def policy(self, author: str) -> DmarcRecord | None:
        """The record that applies: at the domain, else its organization's, else a public suffix's. RFC 9989 4.10.1."""
        own = await self.record(author)
        if own is not None:
            return own
        records = await self.walk(author)
        if not records:
            return None
        organization, _ = await self.find(author)
        for record in records:
            if record.domain == organization:
                return record
        return records[-1] if records[-1].public_suffix == "y" else None

    async def share(self, domain: str, author: str) -> bool:
        """Whether both names belong to one organization; `ResolveError` when that could not be found out."""
        if domain == author:
            return True
        shared = 0
        for one, other in zip(reversed(domain.split(".")), reversed(author.split(".")), strict=False):
            if one != other:
                break
            shared += 1
        if shared == 0:
            return False  # no name in common, so no organization: nothing to ask
        common = ".".join(author.split(".")[-shared:])
        if listed_organization(common) is None and all(each.public_suffix != "n" for each in await self.walk(common)):
            return False  # a public suffix only; and the name servers of a stranger, which may be silent, are not asked
        first, said_first = await self.find(domain)
        second, said_second = await self.find(author)
        if first == second:
            return True
        listed = listed_organization(author)
        return not said_first and not said_second and listed is not None and listed == listed_organization(domain)


async def exists(resolver: Resolver, domain: str) -> bool:
    """Whether there is such a name. RFC 9989 3.2: only NXDOMAIN says that there is not; so does no doubt."""
    try:
        return (await resolver.query(domain, "A")).exists
    except ResolveError:
        return True
