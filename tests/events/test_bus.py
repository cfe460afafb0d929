"""A hint from any thread calls back on the loop, and one subscriber's trouble is its own."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from mailbox_app.events.bus import LocalBus
from tests.support.clock import settle


async def test_hints_of_one_turn_are_merged_and_reach_only_their_topic() -> None:
    bus = LocalBus()
    bus.bind(asyncio.get_running_loop())
    calls: list[str] = []
    bus.subscribe("account:1", lambda: calls.append("one"))
    bus.subscribe("account:2", lambda: calls.append("two"))
    bus.publish("account:1")
    bus.publish("account:1")
    await settle()
    assert calls == ["one"]


async def test_a_hint_from_a_thread_arrives_on_the_loop() -> None:
    bus = LocalBus()
    bus.bind(asyncio.get_running_loop())
    arrived = asyncio.Event()
    bus.subscribe("queue", arrived.set)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(bus.publish, "queue")
        async with asyncio.timeout(5):
            await arrived.wait()


async def test_a_hint_before_bind_waits() -> None:
    bus = LocalBus()
    calls: list[int] = []
    bus.subscribe("queue", lambda: calls.append(1))
    bus.publish("queue")
    bus.bind(asyncio.get_running_loop())
    await settle()
    assert calls == [1]


async def test_a_closed_subscription_is_silent_even_with_a_call_on_its_way() -> None:
    bus = LocalBus()
    bus.bind(asyncio.get_running_loop())
    calls: list[int] = []
    subscription = bus.subscribe("queue", lambda: calls.append(1))
    bus.deliver("queue")
    subscription.close()
    bus.publish("queue")
    await settle()
    assert calls == []


async def test_one_subscribers_error_does_not_reach_another() -> None:
    loop = asyncio.get_running_loop()
    errors: list[object] = []
    loop.set_exception_handler(lambda _, context: errors.append(context["exception"]))
    bus = LocalBus()
    bus.bind(loop)
    calls: list[int] = []

    def broken() -> None:
        raise ValueError

    bus.subscribe("queue", broken)
    bus.subscribe("queue", lambda: calls.append(1))
    bus.publish("queue")
    await settle()
    assert calls == [1]
    assert len(errors) == 1


def test_publishing_after_the_loop_is_closed_does_nothing() -> None:
    loop = asyncio.new_event_loop()
    bus = LocalBus()
    bus.bind(loop)
    loop.close()
    bus.publish("queue")


async def test_a_watcher_hears_of_every_topic_and_of_lost_hints() -> None:
    bus = LocalBus()
    bus.bind(asyncio.get_running_loop())
    heard: list[str | None] = []
    watch = bus.watch(heard.append)
    bus.publish("account:1")
    bus.deliver("account:2")
    await asyncio.sleep(0)
    bus.resync()
    for _ in range(3):
        await asyncio.sleep(0)
    assert sorted(map(str, heard)) == ["None", "account:1", "account:2"]
    watch.close()
    bus.publish("account:3")
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(heard) == 3


async def test_subscribers_are_called_in_the_order_they_came() -> None:
    bus = LocalBus()
    bus.bind(asyncio.get_running_loop())
    calls: list[int] = []
    for number in range(50):
        bus.subscribe("queue", lambda number=number: calls.append(number))  # type: ignore[misc]
    bus.publish("queue")
    await settle()
    assert calls == list(range(50))
