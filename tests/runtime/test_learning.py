"""The job that learns: who is looked at, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from mailbox_app.db.offload import Offload
from mailbox_app.errors import StoreError
from mailbox_app.events.bus import LocalBus
from mailbox_app.events.hints import account_topic
from mailbox_app.ids import AccountId, AccountRef
from mailbox_app.observe.metrics import Metrics
from mailbox_app.runtime.learning import Learning
from tests.support.clock import FakeClock

REFS = [AccountRef(AccountId(number), "example.org", f"user{number}", 0, 0) for number in (1, 2, 3)]


class Scene:
    """A running job and what it looked at."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.bus = LocalBus()
        self.looks: list[int] = []
        self.is_on = True
        self.due: list[AccountId] = []
        self.error: Exception | None = None

    def catch_up(self, ref: AccountRef) -> int:
        self.looks.append(ref.account_id)
        if self.error is not None:
            raise self.error
        return 0

    async def until(self, count: int) -> list[int]:
        """The accounts looked at, once there are so many and time enough has gone by for one more."""
        for _ in range(100):
            await self.clock.advance(6)
            await asyncio.sleep(0.001)
            if len(self.looks) >= count:
                break
        await self.clock.advance(6)
        return self.looks


@asynccontextmanager
async def learning() -> AsyncIterator[Scene]:
    scene = Scene()
    scene.bus.bind(asyncio.get_running_loop())
    offload = Offload(1)
    job = Learning(
        scene.catch_up,
        lambda: scene.due,
        lambda: REFS,
        lambda number: next((ref for ref in REFS if ref.account_id == number), None),
        lambda: scene.is_on,
        scene.bus,
        offload,
        scene.clock,
        Metrics(),
    )
    task = asyncio.get_running_loop().create_task(job.run())
    try:
        yield scene
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        offload.close()


async def test_a_start_looks_at_all_and_a_hint_at_one() -> None:
    async with learning() as scene:
        assert await scene.until(3) == [1, 2, 3]
        scene.bus.publish(account_topic(2))
        scene.bus.publish(account_topic(2))
        scene.bus.publish(account_topic(9))
        assert await scene.until(4) == [1, 2, 3, 2]


async def test_trouble_with_one_account_ends_nothing() -> None:
    async with learning() as scene:
        scene.error = StoreError("store.busy", "busy", temporary=True)
        assert await scene.until(3) == [1, 2, 3]
        scene.error = ValueError("our own mistake")
        scene.bus.publish(account_topic(1))
        assert await scene.until(4) == [1, 2, 3, 1]
        scene.bus.publish(account_topic(3))
        assert await scene.until(5) == [1, 2, 3, 1, 3]


async def test_nothing_is_learnt_when_it_is_switched_off() -> None:
    async with learning() as scene:
        scene.is_on = False
        assert await scene.until(1) == []


async def test_an_account_where_something_was_read_a_day_ago_is_looked_at_within_the_hour() -> None:
    async with learning() as scene:
        await scene.until(len(REFS))
        scene.looks.clear()
        scene.due = [AccountId(2)]
        for _ in range(100):
            await scene.clock.advance(60)
            await asyncio.sleep(0.001)
            if scene.looks:
                break
        assert scene.looks[:1] == [2]
