"""DNS for tests: answers from a dictionary; the real server on loopback is the demo's.

A zone maps (name, type) to presentation-form records, as `mailbox_app.demo.dns_server` describes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mailbox_app.clock import Clock
from mailbox_app.demo.dns_server import DnsServer as FakeDnsServer
from mailbox_app.demo.dns_server import Zone
from mailbox_app.errors import ResolveError
from mailbox_app.net.resolver import Answer

__all__ = ["FakeDnsServer", "FakeResolver", "Zone"]


class FakeResolver:
    """Answers at once from `zone`; `broken` names fail, `delays` (by the clock) come first; counts what was asked."""

    def __init__(self, zone: Mapping[tuple[str, str], Sequence[str]] | None = None, clock: Clock | None = None) -> None:
        self.zone: Zone = {key: list(records) for key, records in (zone or {}).items()}
        self.broken: set[tuple[str, str]] = set()
        self.authenticated: set[str] = set()
        self.delays: dict[str, float] = {}
        self.asked: list[tuple[str, str]] = []
        self._clock = clock

    async def query(self, name: str, rdtype: str) -> Answer:
        name = name.lower().rstrip(".")
        self.asked.append((name, rdtype))
        if self._clock is not None and name in self.delays:
            await self._clock.sleep(self.delays[name])
        if (name, rdtype) in self.broken:
            raise ResolveError("dns.failed", "DNS lookup failed: no DNS server answered in time", temporary=True)
        authenticated = name in self.authenticated
        target = name
        for _ in range(10):
            if records := self.zone.get((target, rdtype)):
                return Answer(tuple(records), authenticated, canonical=target if target != name else "")
            if rdtype == "CNAME" or not (alias := self.zone.get((target, "CNAME"))):
                break
            target = alias[0].rstrip(".")
        return Answer((), authenticated, any(known == target for known, _ in self.zone))
