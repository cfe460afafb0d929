"""The `[policy]` section in the form that is asked millions of times: networks parsed, names folded, answers remembered."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from mailbox_app.config.schema import Policy

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Settings:
    """Whom the configuration trusts and allows. `proxies` are networks that are trusted, too."""

    def __init__(self, policy: Policy, proxies: Iterable[str] = ()) -> None:
        self.policy = policy
        self._trusted = [network for each in (*policy.trusted_networks, *proxies) if (network := network_in(each))]
        self._allowed = [(each, network) for each in policy.allow if (network := network_in(each))]
        self._senders = {_folded(each): each for each in policy.allow if network_in(each) is None}

    @property
    def has_senders(self) -> bool:
        """Whether any address or domain is on the allow list."""
        return bool(self._senders)

    def trusts(self, remote_ip: str) -> bool:
        """Whether this client is ours: this machine, or a trusted network."""
        if remote_ip.startswith("127.") or not remote_ip:
            return True
        address = address_of(remote_ip)
        return address is None or address.is_loopback or _holds(self._trusted, address)

    def allows_client(self, remote_ip: str) -> str:
        """The entry of the allow list this client is on, or ""."""
        address = address_of(remote_ip) if self._allowed else None
        if address is None:
            return ""
        return next((entry for entry, network in self._allowed if _holds((network,), address)), "")

    def allows_sender(self, sender: str) -> str:
        """The entry of the allow list this address is on, itself or by its domain or one above, or ""."""
        if not self._senders or not sender:
            return ""
        folded = _folded(sender)
        domain = folded.rpartition("@")[2]
        while folded:
            if folded in self._senders:
                return self._senders[folded]
            folded, domain = domain, domain.partition(".")[2]
        return ""

    def is_exempt(self, remote_ip: str) -> bool:
        """Whether no ban may ever hold this client up: trusted or allowed."""
        return self.trusts(remote_ip) or bool(self.allows_client(remote_ip))


@lru_cache(8192)
def address_of(remote_ip: str) -> IpAddress | None:
    """A client's address, IPv4 without its IPv6 clothes; None when it is none."""
    try:
        address = ipaddress.ip_address(remote_ip.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@lru_cache(8192)
def wide_network(remote_ip: str) -> str:
    """The /24 or /48 of a client: what one owner usually has. Its own text when it is no address."""
    address = address_of(remote_ip)
    if address is None:
        return remote_ip
    bits = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network((address, bits), strict=False))


@lru_cache(8192)
def narrow_network(remote_ip: str) -> str:
    """The IPv4 address or the IPv6 /64 of a client: what one machine has."""
    address = address_of(remote_ip)
    if address is None or address.version == 4:
        return str(address or remote_ip)
    return str(ipaddress.ip_network((address, 64), strict=False))


def network_in(text: str) -> IpNetwork | None:
    """A network or single address as an administrator writes it; None when it is none."""
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None


def _holds(networks: Iterable[IpNetwork], address: IpAddress) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _folded(text: str) -> str:
    """One form for "@example.org", "example.org" and "Example.ORG."."""
    return text.strip().lower().rstrip(".").removeprefix("@").removeprefix("*.")
