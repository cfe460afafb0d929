"""From which address mail leaves, and by which families. user_wants: an address without a good reverse name is refused by others.

For each family the address is the route's, or the one that the system would take (found by a UDP socket that connects and sends
nothing). Its reverse name must lead back to it (forward-confirmed PTR); what DNS says is kept for some minutes. `auto` goes by
that: IPv6 only when it is confirmed, or when there is no IPv4 at all; IPv4 always, but last when only IPv6 is confirmed.
A private address belongs to a NAT that nobody can see through: IPv4 is used unchecked, IPv6 is not. The check is about other
people's servers; to hosts that the operator named or that are on private networks every family goes.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dns.reversename

from mailbox_app.clock import Clock
from mailbox_app.errors import ResolveError
from mailbox_app.net.resolver import Resolver
from mailbox_app.outbound.routes.choosing import Route, Source

_KEPT_SECONDS = 900.0
_TROUBLE_SECONDS = 60.0
"""DNS could not be asked: soon again."""
_DECIDED_SECONDS = 1.0
"""A decision holds for all messages of a moment."""
_MAX_NAMES = 5
"""PTR names of one address that are looked at."""
_FAR = {4: ("198.41.0.4", 53), 6: ("2001:503:ba3e::2:30", 53)}
"""A place far away (a root name server): the way there is the way to everybody. Nothing is sent to it."""

Outward = Callable[[int], str]
"""Family -> the address that the system would send from, "" without a way out."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One address and what DNS says about it. `confirmed` None: it cannot be checked."""

    source: Source
    confirmed: bool | None
    reason: str
    """In words, for the operator."""


@dataclass(frozen=True, slots=True)
class FamilyState:
    """Whether a family is used, from which address, and why."""

    family: int
    used: bool
    source: Source
    """Its address is "" when the system chooses."""
    confirmed: bool | None
    reason: str


class Families:
    """Decides for routes; asks DNS at most once in some minutes per address."""

    def __init__(self, resolver: Resolver, clock: Clock, outward: Outward | None = None) -> None:
        self._resolver = resolver
        self._clock = clock
        self._outward = outward or outward_address
        self._checked: dict[Source, tuple[float, Checked]] = {}
        self._found: dict[int, tuple[float, str]] = {}
        self._decided: dict[str, tuple[float, Route, Sequence[FamilyState]]] = {}

    async def decide(self, route: Route) -> Sequence[FamilyState]:
        """The families in the order in which they are tried, those that are not used last."""
        now = self._clock.monotonic_seconds()
        until, decided, states = self._decided.get(route.name, (0.0, None, ()))
        if decided is not route or now >= until:
            states = await self._decide(route)
            self._decided[route.name] = (now + _DECIDED_SECONDS, route, states)
        return states

    async def _decide(self, route: Route) -> Sequence[FamilyState]:
        policy = route.family
        states = [await self._state(route, family) for family in (4, 6)]
        if policy in {"4", "6"}:
            states = [_with(one, used=str(one.family) == policy, why=f"family is {policy}") for one in states]
        elif policy == "auto":
            states = _auto(*states)
        if policy == "prefer6":
            states.reverse()
        return sorted(states, key=lambda one: not one.used)

    async def _state(self, route: Route, family: int) -> FamilyState:
        """What is known about a family; used unless nothing could be sent by it."""
        own = [source for source in route.sources if _family(source.address) == family]
        if route.sources and not own:
            return FamilyState(family, False, Source(""), None, f"no IPv{family} address among the route's sources")
        if not own:
            address = self._outward_address(family)
            if not address:
                return FamilyState(family, False, Source(""), None, f"this machine has no way out by IPv{family}")
            checked = await self._check(Source(address))
            return FamilyState(family, True, Source(""), checked.confirmed, checked.reason)
        checks = [await self._check(source) for source in own]
        best = next((one for one in checks if one.confirmed), checks[0])
        return FamilyState(family, True, best.source, best.confirmed, best.reason)

    def _outward_address(self, family: int) -> str:
        now = self._clock.monotonic_seconds()
        until, address = self._found.get(family, (0.0, ""))
        if now >= until:
            address = self._outward(family)
            self._found[family] = (now + _TROUBLE_SECONDS, address)
        return address

    async def _check(self, source: Source) -> Checked:
        now = self._clock.monotonic_seconds()
        until, known = self._checked.get(source, (0.0, None))
        if known is not None and now < until:
            return known
        seconds = _KEPT_SECONDS
        if not ipaddress.ip_address(source.address).is_global:
            checked = Checked(source, None, f"{source.address} is a private address, whose reverse name tells nothing")
        else:
            try:
                checked = await self._confirm(source)
            except ResolveError:
                seconds = _TROUBLE_SECONDS
                checked = known or Checked(source, None, f"DNS does not say now what {source.address} is called")
        if len(self._checked) >= 1000:  # sources of old configurations
            self._checked.clear()
        self._checked[source] = (now + seconds, checked)
        return checked

    async def _confirm(self, source: Source) -> Checked:
        address = ipaddress.ip_address(source.address)
        answer = await self._resolver.query(dns.reversename.from_address(str(address)).to_text(), "PTR")
        names = [name.lower().rstrip(".") for name in answer.records[:_MAX_NAMES]]
        for name in names:
            forward = await self._resolver.query(name, "A" if address.version == 4 else "AAAA")
            if any(ipaddress.ip_address(one) == address for one in forward.records):
                return Checked(source, True, f"{address} is called {name}, which leads back to it")
        if not names:
            return Checked(source, False, f"{address} has no reverse name (PTR)")
        return Checked(source, False, f"{address} is called {names[0]}, which does not lead back to it")


def _auto(four: FamilyState, six: FamilyState) -> list[FamilyState]:
    """Only what is confirmed, but never nothing at all."""
    if six.used and not six.confirmed and four.used:
        six = _with(six, used=False, why="others refuse mail by IPv6 from such an address")
    if four.used and four.confirmed is False and six.used and six.confirmed:
        return [six, FamilyState(4, True, four.source, False, f"{four.reason}: used last")]
    return [four, six]


def _with(state: FamilyState, *, used: bool, why: str) -> FamilyState:
    if used and state.used:
        return state
    reason = f"{state.reason}: {why}" if state.used else state.reason
    return FamilyState(state.family, False, state.source, state.confirmed, reason)


def outward_address(family: int) -> str:
    """The address from which the system would send to the world, "" without a way. Nothing is sent, nothing blocks."""
    kind = socket.AF_INET6 if family == 6 else socket.AF_INET
    try:
        with socket.socket(kind, socket.SOCK_DGRAM) as probe:
            probe.connect(_FAR[family])
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def _family(address: str) -> int:
    return 6 if ":" in address else 4
