"""A resolver over a table, which remembers what was asked and can be slow or broken for a name."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from mailbox_app.errors import ResolveError
from mailbox_app.net.resolver import Answer


class ZoneResolver:
    """Answers from `records`; names in `broken` fail, names in `silent` never answer."""

    def __init__(
        self,
        records: Mapping[tuple[str, str], Sequence[str]] | None = None,
        *,
        broken: Sequence[str] = (),
        silent: Sequence[str] = (),
    ) -> None:
        self.records = dict(records or {})
        self.broken = broken
        self.silent = silent
        self.asked: list[tuple[str, str]] = []

    async def query(self, name: str, rdtype: str) -> Answer:
        """As `net.resolver.Resolver`."""
        name = name.rstrip(".").lower()
        self.asked.append((name, rdtype))
        await asyncio.sleep(0)
        if name in self.silent:
            await asyncio.Event().wait()
        if name in self.broken:
            raise ResolveError("dns.failed", "DNS could not answer.", temporary=True)
        exists = any(known == name or known.endswith("." + name) for known, _ in self.records)
        return Answer(self.records.get((name, rdtype), ()), exists=exists)
