"""Asks the name servers of a zone themselves: what each of them says now, whatever anybody else still remembers.

A record that was just published is not known everywhere at once: each server of the zone learns of it in its own time, and
resolvers keep their "there is none" for the zone's negative TTL (RFC 2308 5). Both are found out here, under one deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rdtypes.txtbase

from mailbox_app.errors import ResolveError
from mailbox_app.net.resolver import Resolver, lookup_addresses

_MAX_SERVERS = 8
_MAX_LABELS = 10
_ASK_SECONDS = 5.0
_TOTAL_SECONDS = 30.0
_ANSWER_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """What one name server says about a TXT name."""

    server: str
    records: Sequence[str] | None
    """The joined strings, one character per octet; None when it did not answer."""
    ttl_seconds: float = 0.0
    """How long resolvers keep this answer, or the absence of one."""
    alias: str = ""
    """The name that it sends to instead (CNAME)."""


class Authority(Protocol):
    """Asks the zone itself."""

    async def txt(self, name: str) -> Sequence[ServerAnswer]:
        """One answer per name server of the zone of `name`, at most eight; `ResolveError` when the zone's servers are unknown."""
        ...


class ZoneServers:
    """The name servers as DNS names them; `port` differs from 53 only in a test network."""

    def __init__(self, resolver: Resolver, port: int = 53) -> None:
        self._resolver = resolver
        self._port = port

    async def txt(self, name: str) -> Sequence[ServerAnswer]:
        """See `Authority`."""
        try:
            async with asyncio.timeout(_TOTAL_SECONDS):
                servers = await self._servers(name)
                return await asyncio.gather(*(self._ask(server, address, name) for server, address in servers))
        except TimeoutError as error:
            raise ResolveError("dns.failed", "the name servers did not answer in time", temporary=True) from error

    async def _servers(self, name: str) -> Sequence[tuple[str, str]]:
        """(name, address) of each server of the zone that `name` is in; DNS may fail for a name in a zone that it knows."""
        labels = name.rstrip(".").split(".")
        failed: ResolveError | None = None
        for start in range(min(len(labels) - 1, _MAX_LABELS)):
            zone = ".".join(labels[start:])
            try:
                hosts = (await self._resolver.query(zone, "NS")).records
            except ResolveError as error:
                failed = error
                continue
            if hosts:
                return await self._addresses([host.rstrip(".") for host in hosts[:_MAX_SERVERS]])
        raise failed or ResolveError("dns.failed", "the zone has no name servers that DNS knows of", temporary=True)

    async def _addresses(self, hosts: Sequence[str]) -> Sequence[tuple[str, str]]:
        async def first(host: str) -> tuple[str, str]:
            try:
                found = await lookup_addresses(self._resolver, host)
            except ResolveError:
                found = ()
            return host, (found[0] if found else "")

        return await asyncio.gather(*(first(host) for host in sorted(hosts)))

    async def _ask(self, server: str, address: str, name: str) -> ServerAnswer:
        if not address:
            return ServerAnswer(server, None)
        query = dns.message.make_query(dns.name.from_text(name), "TXT", use_edns=0, payload=1232)
        query.flags &= ~dns.flags.RD
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                response = await dns.asyncquery.udp(
                    query, address, _ASK_SECONDS, self._port, ignore_unexpected=True, raise_on_truncation=True
                )
        except dns.message.Truncated:
            try:
                async with asyncio.timeout(_ASK_SECONDS):
                    response = await dns.asyncquery.tcp(query, address, _ASK_SECONDS, self._port)
            except (TimeoutError, dns.exception.DNSException, OSError, EOFError):
                return ServerAnswer(server, None)
        except (TimeoutError, dns.exception.DNSException, OSError, EOFError):
            return ServerAnswer(server, None)
        if response.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            return ServerAnswer(server, None)
        return _read(server, response, dns.name.from_text(name))


def _read(server: str, response: dns.message.Message, name: dns.name.Name) -> ServerAnswer:
    for rrset in response.answer:
        if rrset.name == name and rrset.rdtype == dns.rdatatype.CNAME:
            return ServerAnswer(server, (), float(rrset.ttl), rrset[0].target.to_text().rstrip("."))
        if rrset.name == name and rrset.rdtype == dns.rdatatype.TXT:
            texts = [
                b"".join(each.strings).decode("latin-1")
                for each in rrset
                if isinstance(each, dns.rdtypes.txtbase.TXTBase)
            ]
            return ServerAnswer(server, texts, float(rrset.ttl))
    negative = [min(rrset.ttl, rrset[0].minimum) for rrset in response.authority if rrset.rdtype == dns.rdatatype.SOA]
    return ServerAnswer(server, (), float(negative[0]) if negative else 0.0)
