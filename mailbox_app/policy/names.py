"""What host names tell: whether a name was made from its address, and whose name it is."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

from mailbox_app.mailauth.organizations import listed_organization

_NUMBERS = re.compile(r"\d+")
_POOL_WORDS = re.compile(
    r"(?<![a-z])(?:dyn|dynamic(?:ip)?|dynip|dhcp|dial(?:in|up)?|dip|[avx]?dsl|cable|pppo?e?|pools?|broadband|catv|residential"
    r"|cust(?:omer)?|cpe|fib(?:er|re)|ftth|gprs|lte|mobile|wlan|wifi|unassigned)(?![a-z])"
)
_HOST_NAME = re.compile(
    r"(?=.{4,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])\.?\Z", re.IGNORECASE
)
_LONGEST = 253


def is_host_name(text: str) -> bool:
    """Whether it has the form of a fully qualified host name."""
    return _HOST_NAME.match(text) is not None


@lru_cache(4096)
def is_generic(name: str, remote_ip: str) -> bool:
    """Whether a name looks made from its address, as providers name what they rent out and nobody named anew."""
    try:
        address = ipaddress.ip_address(remote_ip.partition("%")[0])
    except ValueError:
        return False
    name = name[:_LONGEST].lower().rstrip(".")
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return _has_nibbles(name, address)
        address = address.ipv4_mapped
    octets = address.packed
    host = name[: -len(registered_domain(name)) or None] or name
    numbers = [int(digits) for digits in _NUMBERS.findall(name) if len(digits) <= 3]
    left = list(numbers)
    found = 0
    for octet in octets:
        if octet in left:
            left.remove(octet)
            found += 1
    if found >= 3:
        return True
    padded = "".join(f"{octet:03d}" for octet in octets)
    if any(form in name for form in (padded, octets.hex(), octets[::-1].hex(), str(int(address)))):
        return True
    has_pool_word = _POOL_WORDS.search(host) is not None
    return has_pool_word and bool(_NUMBERS.search(host))


def _has_nibbles(name: str, address: ipaddress.IPv6Address) -> bool:
    """The last 64 bits as 16 digits, or the written groups in their order."""
    squeezed = re.sub(r"[^0-9a-f]", "", name)
    if address.packed[8:].hex() in squeezed or address.packed[8:].hex()[::-1] in squeezed:
        return True
    groups = [group for group in address.compressed.split(":") if group]
    return len(groups) >= 4 and bool(re.search("[^0-9a-f]".join(groups), name))


def registered_domain(name: str) -> str:
    """The part of a host name that somebody registered: example.org, example.co.uk; the name itself when there is none."""
    name = name.lower().rstrip(".")
    return listed_organization(name) or name


def is_same_owner(one: str, other: str) -> bool:
    """Whether two domains were registered as one."""
    return one == other or (listed_organization(one) or one) == (listed_organization(other) or other)
