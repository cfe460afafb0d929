"""What is known about where connections lead: addresses and families that led nowhere lately, and a network that blocks port 25.

A dead address is tried last for some minutes and only for a short time when there is another; a family to which nothing led for
several addresses in a row goes last altogether. Only connections count, never what a host says. Bounded: the oldest
knowledge goes first.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Sequence

from mailbox_app.clock import Clock

_REMEMBERED_SECONDS = 600.0
_MAX_ADDRESSES = 10_000
_DEAD_IN_A_ROW = 3
"""So many addresses of a family that did not answer, and none that did, are the family's trouble."""
_BLOCKED_NETWORKS = 4
"""Hosts in so many different networks are not all down at the same time."""
_BLOCKED_SECONDS = 3600.0
_BLOCKED = "port {port} seems to be blocked by this network: ask the provider or set a smarthost"


class Reach:
    """Remembers for one process."""

    def __init__(self, clock: Clock, mx_port: int) -> None:
        self._clock = clock
        self.mx_port = mx_port
        self._dead: OrderedDict[str, float] = OrderedDict()
        self._dead_in_a_row: dict[int, set[str]] = {4: set(), 6: set()}
        self._family_until = {4: 0.0, 6: 0.0}
        self._silent: dict[str, float] = {}
        """Networks whose hosts did not answer at the port of other mail servers since the last one that did."""

    def ordered(self, addresses: Sequence[str]) -> Sequence[str]:
        """The same addresses, those that are probably alive first."""
        if not self._dead and not any(self._family_until.values()):
            return addresses
        return sorted(addresses, key=self._deadness)

    def is_dead(self, address: str) -> bool:
        """Whether nothing answered there lately."""
        return self._deadness(address) > 0

    def connected(self, address: str, port: int) -> None:
        """A connection came about."""
        self._dead.pop(address, None)
        family = _family(address)
        self._dead_in_a_row[family].clear()
        self._family_until[family] = 0.0
        if port == self.mx_port:
            self._silent.clear()

    def failed(self, address: str, port: int, *, timed_out: bool) -> None:
        """No connection came about; `timed_out`: nobody said anything, as when a firewall drops it."""
        now = self._clock.monotonic_seconds()
        self._dead[address] = now + _REMEMBERED_SECONDS
        self._dead.move_to_end(address)
        while len(self._dead) > _MAX_ADDRESSES:
            self._dead.popitem(last=False)
        if not timed_out:
            return
        family = _family(address)
        row = self._dead_in_a_row[family]
        row.add(address)
        if len(row) >= _DEAD_IN_A_ROW:
            self._family_until[family] = now + _REMEMBERED_SECONDS
            row.clear()
        if port == self.mx_port and len(self._silent) < _MAX_ADDRESSES:
            self._silent[_network(address)] = now

    def port_25_trouble(self) -> str:
        """A sentence when the network seems to block mail to other servers, else ""."""
        since = self._clock.monotonic_seconds() - _BLOCKED_SECONDS
        recent = sum(at >= since for at in self._silent.values())
        return _BLOCKED.format(port=self.mx_port) if recent >= _BLOCKED_NETWORKS else ""

    def _deadness(self, address: str) -> int:
        now = self._clock.monotonic_seconds()
        until = self._dead.get(address)
        if until is not None and until <= now:
            del self._dead[address]
            until = None
        return (1 if until is not None else 0) + (1 if self._family_until[_family(address)] > now else 0)


def _family(address: str) -> int:
    return 6 if ":" in address else 4


def _network(address: str) -> str:
    return str(ipaddress.ip_network(f"{address}/{48 if ':' in address else 24}", strict=False))
