"""The client's confirmed name: a PTR name whose own addresses contain the client's (RFC 8601 3).

At most five names are tried, one after another, so a client with very many PTR records costs no more than another.
"""

from __future__ import annotations

import ipaddress
import re

from mailbox_app.errors import ResolveError
from mailbox_app.mailauth.results import IprevResult, Result
from mailbox_app.net.resolver import Resolver

# Honest hosts have one or two; RFC 7208 4.6.4 looks at ten at most.
_MAX_NAMES = 5
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_][a-z0-9_-]{0,62})+")


async def iprev(resolver: Resolver, remote_ip: str) -> IprevResult:
    """Look the address up and its names back. The caller sets the deadline; trouble with DNS is `temperror`."""
    try:
        address = ipaddress.ip_address(remote_ip.partition("%")[0])
    except ValueError:
        return IprevResult(Result.PERMERROR, remote_ip, reason="not an address")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    try:
        answer = await resolver.query(address.reverse_pointer, "PTR")
    except ResolveError as error:
        return IprevResult(Result.TEMPERROR, remote_ip, reason=error.public_text)
    names = [name for record in answer.records[: 2 * _MAX_NAMES] if _NAME.fullmatch(name := record.rstrip(".").lower())]
    names = list(dict.fromkeys(names))[:_MAX_NAMES]
    if not names:
        return IprevResult(Result.PERMERROR, remote_ip, reason="the address has no name")
    rdtype = "A" if address.version == 4 else "AAAA"
    trouble = ""
    for name in names:
        try:
            found = await resolver.query(name, rdtype)
        except ResolveError as error:
            trouble = error.public_text
            continue
        if address in map(_address, found.records):
            return IprevResult(Result.PASS, remote_ip, name, tuple(names))
    if trouble:
        return IprevResult(Result.TEMPERROR, remote_ip, claimed=tuple(names), reason=trouble)
    return IprevResult(Result.FAIL, remote_ip, claimed=tuple(names), reason="its names lead elsewhere")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
