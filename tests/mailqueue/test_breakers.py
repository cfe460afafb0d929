"""All breakers of a process: memory, store, other nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mailbox_app.config.schema import Queue
from mailbox_app.db import state_schema
from mailbox_app.db.offload import Offload
from mailbox_app.db.redis import RedisLink
from mailbox_app.errors import StoreError
from mailbox_app.mailqueue.destinations.breaker import Breaker, Condition
from mailbox_app.mailqueue.destinations.breaker_store import BreakerStore, MemoryBreakerStore, SqliteBreakerStore, Step
from mailbox_app.mailqueue.destinations.breakers import Breakers, Passage, Refusal
from mailbox_app.mailqueue.redis.breakers import RedisBreakerStore
from mailbox_app.observe.metrics import Metrics
from tests.support.clock import FakeClock
from tests.support.redis import RedisServer

HOST = "mx.there.example:25"
Make = Callable[[], Breakers]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def offload() -> Iterator[Offload]:
    made = Offload(2)
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "redis", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Iterator[BreakerStore]:
    if request.param == "redis":
        server = RedisServer(tmp_path / "redis").start()
        link = RedisLink(Queue(redis_url=server.url), clock)
        yield RedisBreakerStore(link)
        link.close()
        server.destroy()
        return
    if request.param == "memory":
        yield MemoryBreakerStore()
        return
    database = state_schema.open_state(tmp_path / "state.db")
    yield SqliteBreakerStore(database, clock)
    database.close()


@pytest.fixture
def make(store: BreakerStore, offload: Offload, clock: FakeClock, metrics: Metrics) -> Make:
    return lambda: Breakers(store, offload, clock, metrics)


async def fail(breakers: Breakers, times: int = 5, host: str = HOST) -> None:
    for _ in range(times):
        await breakers.failed(Passage(host), "no connection: refused")


async def test_an_open_host_is_refused_with_a_sentence_until_its_probe_and_then_lets_one_in(
    make: Make, clock: FakeClock
) -> None:
    breakers = make()
    await fail(breakers)
    refusal = await breakers.ask(HOST, "there.example")
    assert isinstance(refusal, Refusal)
    assert (refusal.until - clock.now()).total_seconds() == 300
    assert refusal.sentence == (
        "mx.there.example is passed over since 5 connections in a row failed (the last time: no connection: refused);"
        " the next try is at 2026-01-05 10:05:00 UTC"
    )
    clock.skip(300)
    probe = await breakers.ask(HOST, "there.example")
    assert isinstance(probe, Passage)
    assert probe.probe
    assert isinstance(await breakers.ask(HOST, "there.example"), Refusal)
    await breakers.greeted(probe)
    second = await breakers.ask(HOST, "there.example")
    assert isinstance(second, Passage)
    await breakers.greeted(second)
    assert await breakers.all() == []
    assert breakers.waiting(HOST) == []


async def test_two_nodes_share_failures_and_the_one_probe(make: Make, clock: FakeClock) -> None:
    here, there = make(), make()
    await fail(here, 3)
    await fail(there, 2)
    clock.skip(10)
    assert isinstance(await here.ask(HOST), Refusal)
    assert isinstance(await there.ask(HOST), Refusal)
    clock.skip(300)
    passages = [await each.ask(HOST) for each in (here, there)]
    assert [isinstance(each, Passage) for each in passages] == [True, False]


async def test_a_restart_knows_what_is_open_and_a_probe_that_was_lost_runs_out(make: Make, clock: FakeClock) -> None:
    before = make()
    await fail(before)
    after = make()
    assert isinstance(await after.ask(HOST), Refusal)
    clock.skip(300)
    assert isinstance(await after.ask(HOST), Passage)  # and is never heard of: killed
    again = make()
    assert isinstance(await again.ask(HOST), Refusal)
    clock.skip(960)
    assert isinstance(await again.ask(HOST), Passage)


async def test_after_a_start_all_who_ask_at_once_hear_what_is_open(make: Make) -> None:
    await fail(make())
    restarted = make()
    found = await asyncio.gather(*(restarted.ask(HOST, "there.example") for _ in range(5)))
    assert [type(each) for each in found] == [Refusal] * 5


async def test_a_start_frees_the_probe_of_the_process_before(
    tmp_path: Path, offload: Offload, clock: FakeClock, metrics: Metrics
) -> None:
    with closing(state_schema.open_state(tmp_path / "state.db")) as database:
        store = SqliteBreakerStore(database, clock)
        before = Breakers(store, offload, clock, metrics)
        await fail(before)
        clock.skip(300)
        assert isinstance(await before.ask(HOST), Passage)  # and is killed
        store.free_probes()
        assert isinstance(await Breakers(store, offload, clock, metrics).ask(HOST), Passage)


async def test_a_host_in_good_order_costs_no_look_into_the_store(offload: Offload, clock: FakeClock) -> None:
    store = CountingStore()
    breakers = Breakers(store, offload, clock, Metrics())
    for _ in range(100):
        passage = await breakers.ask(HOST)
        assert isinstance(passage, Passage)
        await breakers.greeted(passage)
        await breakers.end(passage)
    assert store.calls == ["all"]


async def test_a_store_in_trouble_leaves_the_process_its_own_memory(offload: Offload, clock: FakeClock) -> None:
    store = CountingStore()
    breakers = Breakers(store, offload, clock, Metrics())
    store.is_broken = True
    await fail(breakers)
    assert isinstance(await breakers.ask(HOST), Refusal)
    clock.skip(300)
    assert isinstance(await breakers.ask(HOST), Passage)


async def test_changes_are_counted(make: Make, metrics: Metrics, clock: FakeClock) -> None:
    breakers = make()
    assert breakers.exposition() == b""
    await fail(breakers, 7)
    assert b'mailserver_breaker_state{host="mx.there.example:25"} 2.0' in breakers.exposition()
    assert [each.condition for each in breakers.not_closed(10)] == [Condition.OPEN]
    await breakers.reset(HOST)
    assert breakers.not_closed(10) == []
    samples = {sample.name: sample.value for family in metrics.registry.collect() for sample in family.samples}
    assert samples["mailserver_breaker_opened_total"] == samples["mailserver_breaker_closed_total"] == 1


class CountingStore(MemoryBreakerStore):
    """Remembers what it was asked; can be broken."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.is_broken = False

    def change(self, host: str, step: Step) -> tuple[Breaker, Breaker]:
        self.calls.append("change")
        self._check()
        return super().change(host, step)

    def all(self) -> list[Breaker]:
        self.calls.append("all")
        self._check()
        return list(super().all())

    def _check(self) -> None:
        if self.is_broken:
            raise StoreError("store.busy", "storage is busy", temporary=True)
