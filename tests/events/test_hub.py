"""What one process hints, all others hear; who may have missed something looks for itself."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mailbox_app.clock import SystemClock
from mailbox_app.events import hub
from mailbox_app.events.bus import LocalBus
from mailbox_app.events.hub import HubClient, HubServer
from mailbox_app.net import unix_socket


class Process:
    """A bus with a client, and the topics it heard."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self.bus = LocalBus()
        self.bus.bind(asyncio.get_running_loop())
        self.heard: asyncio.Queue[str] = asyncio.Queue()
        for topic in ("account:1", "queue"):
            self.bus.subscribe(topic, lambda topic=topic: self.heard.put_nowait(topic))  # type: ignore[misc]
        self.task = asyncio.create_task(HubClient(self.bus, connect, SystemClock()).run())

    async def hears(self) -> str:
        async with asyncio.timeout(5):
            return await self.heard.get()

    async def joined(self) -> None:
        """Joining calls everybody back once."""
        assert {await self.hears(), await self.hears()} == {"account:1", "queue"}


@pytest.fixture
async def listener(tmp_path: Path) -> AsyncIterator[socket.socket]:
    made = unix_socket.listen(tmp_path / "hub.sock")
    yield made
    made.close()


@pytest.fixture
async def fronts(
    tmp_path: Path, listener: socket.socket
) -> AsyncIterator[tuple[HubServer, LocalBus, Process, Process]]:
    core = LocalBus()
    core.bind(asyncio.get_running_loop())
    server = HubServer(core, listener.dup())
    await server.start()
    connect = lambda: unix_socket.connect_nonblocking(tmp_path / "hub.sock")  # noqa: E731
    first = Process(connect)
    await first.joined()
    second = Process(connect)
    await second.joined()
    await first.joined()  # the second one's arrival: it may have published while it was cut off
    yield server, core, first, second
    for each in (first, second):
        each.task.cancel()
    await asyncio.gather(first.task, second.task, return_exceptions=True)
    server.close()


Fronts = tuple[HubServer, LocalBus, Process, Process]


async def test_a_hint_reaches_the_other_front_and_the_core(fronts: Fronts) -> None:
    _, core, first, second = fronts
    heard = asyncio.Event()
    core.subscribe("account:1", heard.set)
    first.bus.publish("account:1")
    assert await second.hears() == "account:1"
    assert await first.hears() == "account:1"
    async with asyncio.timeout(5):
        await heard.wait()
    assert first.heard.empty()


async def test_the_cores_hint_reaches_all_fronts(fronts: Fronts) -> None:
    _, core, first, second = fronts
    core.publish("queue")
    assert (await first.hears(), await second.hears()) == ("queue", "queue")


async def test_fronts_find_a_new_core_and_resynchronise(fronts: Fronts, listener: socket.socket) -> None:
    server, _, first, second = fronts
    server.close()
    bus = LocalBus()
    bus.bind(asyncio.get_running_loop())
    again = HubServer(bus, listener.dup())
    await again.start()
    await first.joined()
    await second.joined()
    again.close()


async def test_a_front_that_does_not_read_loses_hints_and_is_told(fronts: Fronts, tmp_path: Path) -> None:
    _, core, _, _ = fronts
    with unix_socket.connect_nonblocking(tmp_path / "hub.sock") as slow:
        loop = asyncio.get_running_loop()
        for _ in range(5):
            await asyncio.sleep(0)
        for number in range(200_000):
            core.publish(f"account:{number}")
            if number % 5_000 == 0:
                await asyncio.sleep(0)
        received = b""
        async with asyncio.timeout(10):
            while not received.endswith(b"\n*\n"):
                received += await loop.sock_recv(slow, 65_536)
        assert len(received) < 1_500_000


async def test_hints_of_the_queue_are_told_at_once_and_then_together(
    fronts: tuple[HubServer, LocalBus, Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_QUEUE_SECONDS", 0.3)
    _, _, first, second = fronts
    for _ in range(3):  # each in a turn of the loop of its own
        first.bus.publish("queue")
        await first.hears()
    first.bus.publish("account:1")
    assert await second.hears() == "queue"
    assert await second.hears() == "account:1"
    assert await second.hears() == "queue"
    first.bus.publish("account:1")
    assert await second.hears() == "account:1"  # nothing else was left to tell
