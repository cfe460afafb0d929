"""Repairs of the store become audit entries: the core's part of `store.repairs`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from mailbox_app.db.offload import Offload
from mailbox_app.errors import MailboxError
from mailbox_app.events.hints import REPAIRS_TOPIC, Bus
from mailbox_app.journal.audit import Audit, Change
from mailbox_app.store import repairs

_AGAIN_SECONDS = 60.0
"""A lost hint costs so much delay."""


class RepairWatch:
    """Runs in the core, where the audit is written."""

    def __init__(self, data_dir: Path, audit: Audit, offload: Offload, bus: Bus) -> None:
        self._data_dir = data_dir
        self._audit = audit
        self._offload = offload
        self._bus = bus
        self._log = structlog.get_logger("store")

    async def run(self) -> None:
        """Until cancelled; what cannot be written now stays for the next time."""
        hinted = asyncio.Event()
        subscription = self._bus.subscribe(REPAIRS_TOPIC, hinted.set)
        try:
            while True:
                hinted.clear()
                try:
                    await self._offload.run(self.take)
                except (MailboxError, OSError) as error:
                    self._log.warning("repairs wait for the audit", reason=str(error))
                try:
                    async with asyncio.timeout(_AGAIN_SECONDS):
                        await hinted.wait()
                except TimeoutError:
                    continue
        finally:
            subscription.close()

    def take(self) -> None:
        """Write what waits. Synchronous."""
        for path, repair in repairs.waiting(self._data_dir):
            self._audit.append(
                Change("mailserver", 0, "store", "store.repaired", object=repair.address, detail=repair.text)
            )
            path.unlink(missing_ok=True)
