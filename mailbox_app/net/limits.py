"""Counts what one client address may have open at once, in one process.

IPv6 clients are counted by their /64: that is what one household or machine gets.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Protocol


class Admission(Protocol):
    """Who may come in at all."""

    def admits(self, remote_ip: str, protocol: str) -> bool:
        """Whether a session of this client may begin; a look into memory."""
        ...


class ConnectionCounter:
    """Open connections per client; memory is bounded by the number of open connections.

    `key` says what is one client.
    """

    def __init__(self, limit: int, key: Callable[[str], str] | None = None) -> None:
        self._limit = limit
        self._key = key or _key
        self._open: dict[str, int] = {}

    def enter(self, remote_ip: str) -> bool:
        """Count one more; False, and not counted, when the client has too many. Each True wants one `leave`."""
        key = self._key(remote_ip)
        count = self._open.get(key, 0)
        if count >= self._limit:
            return False
        self._open[key] = count + 1
        return True

    def leave(self, remote_ip: str) -> None:
        """One connection ended."""
        key = self._key(remote_ip)
        count = self._open.get(key, 0) - 1
        if count > 0:
            self._open[key] = count
        else:
            self._open.pop(key, None)

    def count(self, remote_ip: str) -> int:
        """How many the client has open."""
        return self._open.get(self._key(remote_ip), 0)


def _key(remote_ip: str) -> str:
    if ":" not in remote_ip:
        return remote_ip
    address = ipaddress.IPv6Address(remote_ip.partition("%")[0])
    return str(address.ipv4_mapped or ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
