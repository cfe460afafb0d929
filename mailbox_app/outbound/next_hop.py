"""Which hosts take mail for a domain, and at which addresses. RFC 5321 5.1, RFC 7505.

A domain's MX by preference (those of equal preference in random order), without MX the domain itself, for a domain literal
the address. A route with hosts of its own has only those. What DNS says for good (no such domain, a null MX, a loop back to
ourselves) and what may be different tomorrow (DNS silent, only private addresses) both end in `Unroutable`, which carries the
outcome. Addresses come in the order of the families that are in use; those of a family that is not are left out, but for hosts
that the operator named and for private networks, where nobody asks for reverse names.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mailbox_app.errors import MailboxError, ResolveError
from mailbox_app.mailqueue.model import Fate
from mailbox_app.net.resolver import Resolver, lookup_addresses

MAX_HOSTS = 5
_LOCALHOST = ("127.0.0.1",)
"""By IPv6 few local relays listen; who needs it writes [::1]."""
_ADDRESSES_PER_HOST = 3


class Unroutable(MailboxError):
    """There is no host to try: the outcome for every recipient of the domain, or what one host contributes to it."""

    def __init__(self, fate: Fate, code: int, enhanced: str, text: str) -> None:
        super().__init__("outbound.unroutable", text, temporary=fate is Fate.DEFERRED)
        self.fate = fate
        self.smtp_code = code
        self.enhanced = enhanced


@dataclass(frozen=True, slots=True)
class MailHost:
    """A host to try: a name or an address."""

    name: str
    port: int
    trusted: bool = False
    """The operator named it (smarthost): its addresses may be private."""
    is_proven: bool = False
    """Nobody between DNS and us can have put another name here: signed (DNSSEC), or not from DNS at all."""


class FamilyUse(Protocol):
    """Whether an address family is in use, and why (not); `sources.FamilyState`."""

    @property
    def family(self) -> int:
        """4 or 6."""
        ...

    @property
    def used(self) -> bool:
        """False: its addresses are left out."""
        ...

    @property
    def reason(self) -> str:
        """In words."""
        ...


class NextHops:
    """Answers from DNS and the configuration."""

    def __init__(self, resolver: Resolver, *, hostname: str, port: int, allow_private_addresses: bool) -> None:
        self._resolver = resolver
        self._hostname = hostname.lower().rstrip(".")
        self._port = port
        self._allow_private_addresses = allow_private_addresses

    async def hosts(self, domain: str) -> Sequence[MailHost]:
        """The domain's own hosts in the order to try them, at most five."""
        if domain.startswith("["):
            return [MailHost(_literal(domain), self._port, is_proven=True)]
        try:
            answer = await self._resolver.query(domain, "MX")
        except ResolveError as error:
            raise _dns_trouble(error) from error
        if not answer.exists:
            raise Unroutable(Fate.FAILED, 550, "5.1.2", f"the domain {domain} does not exist")
        names = self._by_preference(_parse_mx(answer.records), domain) if answer.records else [domain]
        if names == [self._hostname]:
            raise _loop(domain)
        return [MailHost(name, self._port, is_proven=answer.authenticated) for name in names[:MAX_HOSTS]]

    async def addresses(self, host: MailHost, families: Sequence[FamilyUse] = ()) -> Sequence[str]:
        """Where to connect to, at most three addresses, the families alternating in the order given; none given: IPv4 first."""
        only_four = [use.family for use in families if use.used] == [4] and not host.trusted
        if host.trusted and host.name.lower() == "localhost":  # a name that many resolvers do not know
            found: Sequence[str] = _LOCALHOST
        else:
            found = await self._lookup(host.name, only_four=only_four and not self._allow_private_addresses)
        if not found and host.trusted:
            # The configuration's mistake or DNS', never the recipient's: the mail waits until somebody mends it.
            text = f"the host {host.name}, which the configuration names, has no address"
            raise Unroutable(Fate.DEFERRED, 451, "4.4.4", text)
        if not found:
            raise Unroutable(Fate.FAILED, 550, "5.4.4", f"the mail server {host.name} has no address")
        if not self._allow_private_addresses and not host.trusted:
            found = [address for address in found if ipaddress.ip_address(address).is_global]
        if not found:
            # Deferred, not failed: the usual causes are a DNS mistake at the other end or split DNS at ours, both mended.
            raise Unroutable(Fate.DEFERRED, 451, "4.4.4", f"the mail server {host.name} has only private addresses")
        usable = _by_family(found, families, any_family=host.trusted)
        if not usable:
            use = next(use for use in families if not use.used and use.family == _family(found[0]))
            text = f"the mail server {host.name} has only IPv{use.family} addresses, and IPv{use.family} is not used: {use.reason}"
            raise Unroutable(Fate.DEFERRED, 451, "4.4.4", text)
        return usable[:_ADDRESSES_PER_HOST]

    async def _lookup(self, name: str, *, only_four: bool) -> Sequence[str]:
        """`only_four`: IPv6 is of no use here, and is asked for only to tell that there is nothing else."""
        if name[-1:].isdigit() or ":" in name:
            try:
                return [str(ipaddress.ip_address(name))]
            except ValueError:
                pass
        try:
            if only_four and (records := (await self._resolver.query(name, "A")).records):
                return records
            return await lookup_addresses(self._resolver, name)
        except ResolveError as error:
            raise _dns_trouble(error) from error

    def _by_preference(self, records: Sequence[tuple[int, str]], domain: str) -> list[str]:
        if all(name in ("", ".") for _, name in records):  # RFC 7505 3
            raise Unroutable(Fate.FAILED, 556, "5.1.10", f"the domain {domain} does not accept mail")
        # RFC 5321 5.1: from our own preference on, hosts would only send the message back to us
        ours = min((preference for preference, name in records if name == self._hostname), default=1 << 16)
        ranked = [
            (preference, random.random(), name) for preference, name in records if preference < ours and name != "."
        ]
        if not ranked:
            raise _loop(domain)
        return list(dict.fromkeys(name for _, _, name in sorted(ranked)))


def _by_family(found: Sequence[str], families: Sequence[FamilyUse], *, any_family: bool) -> list[str]:
    """In the order of the families, alternating. What is not used stays only for private networks and named hosts, last."""
    if not families:
        return list(found)
    rows: list[list[str]] = []
    for use in families:
        own = [address for address in found if _family(address) == use.family]
        if not use.used and not any_family:
            own = [address for address in own if not ipaddress.ip_address(address).is_global]
        rows.append(own)
    longest = max(map(len, rows))
    return [row[place] for place in range(longest) for row in rows if place < len(row)]


def _family(address: str) -> int:
    return 6 if ":" in address else 4


def parse_smarthost(text: str) -> MailHost:
    """ "host", "host:port", "[v6]:port"; the port is 25 when it is missing."""
    name, port = text, ""
    if text.startswith("["):
        name, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        name, _, port = text.partition(":")
    return MailHost(name, int(port or 25), trusted=True)


def _parse_mx(records: Sequence[str]) -> Sequence[tuple[int, str]]:
    parsed = []
    for record in records:
        preference, _, name = record.partition(" ")
        parsed.append((int(preference), name.strip().lower().rstrip(".") or "."))
    return parsed


def _literal(domain: str) -> str:
    text = domain[1:].removesuffix("]")
    if text[:5].lower() == "ipv6:":
        text = text[5:]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise Unroutable(Fate.FAILED, 550, "5.1.2", "the address literal is not an address") from error


def _loop(domain: str) -> Unroutable:
    return Unroutable(Fate.LOOP, 554, "5.4.6", f"mail for {domain} loops back to this server, which does not take it")


def _dns_trouble(error: ResolveError) -> Unroutable:
    return Unroutable(Fate.DEFERRED, 451, "4.4.3", error.public_text)
