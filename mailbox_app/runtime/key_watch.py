"""Signing keys in the core: rotations move on every ten minutes, every active key's record is looked at once a day."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import structlog

from mailbox_app.accounts.model import KeyState
from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import MailboxError
from mailbox_app.events.hints import DIRECTORY_TOPIC, Bus
from mailbox_app.outbound.key_rotation import KeyRotation, Keys

_ROUND_SECONDS = 600.0
_FIRST_SECONDS = 30.0
_LOOK = timedelta(days=1)
_LOOK_AGAIN = timedelta(hours=1)
"""At what was not in order."""


class KeyWatch:
    """One round after the other until cancelled; what fails is logged and comes again."""

    def __init__(self, rotation: KeyRotation, keys: Keys, offload: Offload, clock: Clock, bus: Bus) -> None:
        self.rotation = rotation
        self._keys = keys
        self._offload = offload
        self._clock = clock
        self._bus = bus
        self._log = structlog.get_logger("dkim")
        self._problems: dict[str, str] = {}
        self._looked: dict[str, float] = {}

    def problems(self) -> Sequence[str]:
        """One sentence per active key whose record would not do, as of the last look."""
        return list(self._problems.values())

    async def run(self) -> None:
        """Until cancelled."""
        await self._clock.sleep(_FIRST_SECONDS)
        while True:
            try:
                await self.round()
            except (MailboxError, OSError) as error:
                self._log.warning("keys_not_checked", reason=str(error))
            await self._clock.sleep(_ROUND_SECONDS)

    async def round(self) -> None:
        """Move every domain's keys on, look at what signs."""
        names: set[str] = set()
        for domain in await self._offload.run(self._keys.domains_with_keys):
            before = await self._states(domain)
            await self.rotation.step(domain)
            if await self._states(domain) != before:
                self._bus.publish(DIRECTORY_TOPIC)
            names |= await self._look(domain)
            await asyncio.sleep(0)
        for gone in set(self._looked) - names:
            self._looked.pop(gone)
            self._problems.pop(gone, None)

    async def _states(self, domain: str) -> dict[str, KeyState]:
        return {key.selector: key.state for key in await self._offload.run(self._keys.all_dkim_keys, domain)}

    async def _look(self, domain: str) -> set[str]:
        """Our own verifier reads our own records: a wrong tag there makes every signature fail elsewhere."""
        names = set()
        for key in await self._offload.run(self._keys.all_dkim_keys, domain):
            if not key.active:
                continue
            name = f"{key.selector}._domainkey.{key.domain}"
            names.add(name)
            pause = _LOOK_AGAIN if name in self._problems else _LOOK
            now = self._clock.monotonic_seconds()
            if name in self._looked and now < self._looked[name] + pause.total_seconds():
                continue
            self._looked[name] = now
            found = await self.rotation.publication(key)
            if found.seen == "unknown":
                continue
            if found.seen == "yes":
                self._problems.pop(name, None)
            else:
                if name not in self._problems:
                    self._log.warning("dkim_record", selector=key.selector, domain=domain, reason=found.sentence)
                told = f"mail of {domain} is signed with {key.selector}, but {found.sentence}"
                self._problems[name] = f"{told}: mailbox dkim check {domain}"
        return names
