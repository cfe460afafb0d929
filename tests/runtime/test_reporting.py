"""The job for reports: when ours leave, whose mail is read, and what trouble does to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mailbox_app.db.offload import Offload
from mailbox_app.errors import StoreError
from mailbox_app.events.bus import LocalBus
from mailbox_app.events.hints import account_topic
from mailbox_app.ids import AccountId, AccountRef
from mailbox_app.observe.metrics import Metrics
from mailbox_app.runtime.reporting import DAY_SECONDS, Reporting, minute_of
from tests.support.clock import FakeClock

REFS = [AccountRef(AccountId(number), "example.org", f"user{number}", 0, 0) for number in (1, 2)]
HOST = "mail.example.org"


class Scene:
    """A running job and what it did."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.bus = LocalBus()
        self.metrics = Metrics()
        self.rounds: list[float] = []
        self.looks: list[int] = []
        self.error: Exception | None = None

    async def send_due(self) -> int:
        self.rounds.append(self.clock.epoch_seconds() % DAY_SECONDS)
        if self.error is not None:
            raise self.error
        return 0

    def catch_up(self, ref: AccountRef) -> int:
        self.looks.append(ref.account_id)
        if self.error is not None:
            raise self.error
        return 0

    async def advance(self, seconds: float, step: float = 600) -> None:
        for _ in range(int(seconds // step)):
            await self.clock.advance(step)
            for _ in range(5):
                await asyncio.sleep(0.001)


@asynccontextmanager
async def reporting() -> AsyncIterator[Scene]:
    scene = Scene()
    scene.bus.bind(asyncio.get_running_loop())
    offload = Offload(1)
    job = Reporting(
        [scene.send_due], lambda: REFS, scene.catch_up, lambda: 0, HOST, scene.bus, offload, scene.clock, scene.metrics
    )
    task = asyncio.ensure_future(job.run())
    try:
        yield scene
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        offload.close()


async def test_nothing_leaves_before_the_servers_own_minute() -> None:
    assert minute_of(HOST) == minute_of(HOST.upper())
    assert len({minute_of(f"mail{number}.example") for number in range(50)}) > 40
    async with reporting() as scene:
        await scene.advance(2 * DAY_SECONDS)
        assert len(scene.rounds) > 50
        assert min(scene.rounds) >= minute_of(HOST)


async def test_all_accounts_are_read_at_first_and_later_those_that_changed() -> None:
    async with reporting() as scene:
        await scene.advance(10, 1)
        assert scene.looks == [1, 2]
        scene.bus.publish(account_topic(AccountId(2)))
        scene.bus.publish(account_topic(AccountId(7)))
        await scene.advance(10, 1)
        assert scene.looks == [1, 2, 2]


async def test_trouble_ends_neither_half_and_what_was_missed_comes_again() -> None:
    async with reporting() as scene:
        scene.error = StoreError("store.busy", "busy", temporary=True)
        await scene.advance(10, 1)
        assert scene.looks == [1]
        scene.error = None
        scene.bus.publish(account_topic(AccountId(2)))
        await scene.advance(10, 1)
        assert scene.looks == [1, 1, 2]
        scene.error = ValueError("a bug")
        await scene.advance(3_600)
        assert len(scene.rounds) == 2
        assert scene.metrics.registry.get_sample_value("mailserver_errors_total") == len(scene.rounds)
