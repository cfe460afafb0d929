"""What the store repaired in any process is in the audit."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mailbox_app.clock import SystemClock
from mailbox_app.db.offload import Offload
from mailbox_app.events.bus import LocalBus
from mailbox_app.ids import AccountId, AccountRef
from mailbox_app.journal.audit import Audit, Change
from mailbox_app.runtime.repairs import RepairWatch
from mailbox_app.store.repairs import RepairNotes, waiting

REF = AccountRef(AccountId(1), "example.org", "alice", 0)


class TellingAudit(Audit):
    """Says when an entry was written."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(path, SystemClock())
        self._loop = loop
        self.written: asyncio.Queue[str] = asyncio.Queue()

    def append(self, change: Change) -> int:
        number = super().append(change)
        self._loop.call_soon_threadsafe(self.written.put_nowait, f"{change.what} {change.object}: {change.detail}")
        return number


async def test_repairs_before_the_start_and_after_a_hint_become_entries(tmp_path: Path) -> None:
    loop, bus, offload = asyncio.get_running_loop(), LocalBus(), Offload()
    bus.bind(loop)
    audit = TellingAudit(tmp_path / "journal.db", loop)
    notes = RepairNotes(tmp_path, bus)
    notes.note(REF, "before")
    watch = asyncio.create_task(RepairWatch(tmp_path, audit, offload, bus).run())
    async with asyncio.timeout(20):
        assert await audit.written.get() == "store.repaired alice@example.org: before"
        notes.note(REF, "after")
        assert await audit.written.get() == "store.repaired alice@example.org: after"
    watch.cancel()
    await asyncio.wait([watch])
    offload.close()
    assert list(waiting(tmp_path)) == []
    assert audit.head() == 2
    audit.close()
