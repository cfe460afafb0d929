"""The history is kept as long as configured."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from mailbox_app.db.offload import Offload
from mailbox_app.mailqueue.forgetting import Forgetting
from mailbox_app.mailqueue.model import Fate, QueueFilter, Settlement
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.mailqueue.sqlite.backend import SqliteQueue
from tests.support.clock import FakeClock
from tests.support.queue import RecordingBus, outcome, put


async def test_only_what_is_old_enough_is_forgotten_in_several_steps(tmp_path: Path) -> None:
    clock, spool, offload = FakeClock(), Spool(tmp_path / "queue"), Offload(2)
    queue = SqliteQueue(tmp_path / "queue.db", spool, RecordingBus(), clock)

    def deliver(count: int) -> None:
        for _ in range(count):
            put(queue, spool, clock.now())
        leases = queue.claim(clock.now(), limit=count, lease_seconds=60, per_destination=count)
        done = [outcome("bob@there.example", Fate.DELIVERED)]
        queue.settle([Settlement(lease, done, clock.now()) for lease in leases], clock.now())

    deliver(250)
    clock.skip(timedelta(days=2).total_seconds())
    deliver(3)
    clock.skip(timedelta(days=29).total_seconds())
    running = asyncio.create_task(Forgetting(queue, lambda: 30, offload, clock).run())
    async with asyncio.timeout(20):
        while len(queue.history(QueueFilter(), 0, 1000)) > 3:
            await clock.advance(100)
            await asyncio.sleep(0.001)
    await clock.advance(1000)
    assert len(queue.history(QueueFilter(), 0, 1000)) == 3
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    offload.close()
    queue.close()
