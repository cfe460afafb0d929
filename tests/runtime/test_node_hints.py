"""Hints between nodes: heard elsewhere, never twice, and looked for anew after trouble."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Sequence

import pytest

from mailbox_app.clock import SystemClock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import StoreError
from mailbox_app.events.bus import LocalBus
from mailbox_app.events.hub import HubServer, deliver
from mailbox_app.net import unix_socket
from mailbox_app.runtime import node_hints as module
from mailbox_app.runtime.node_hints import NodeHints
from tests.support.clock import settle


class Air:
    """What all channels share; `is_there` False is a server that is away."""

    def __init__(self) -> None:
        self.is_there = True
        self.hearing: list[Channel] = []
        self.messages: list[bytes] = []


class Channel:
    """In memory."""

    def __init__(self, air: Air) -> None:
        self._air = air
        self._heard: queue.Queue[bytes] = queue.Queue()

    def publish(self, message: bytes) -> None:
        self._refuse()
        self._air.messages.append(message)
        for each in self._air.hearing:
            each._heard.put(message)

    def open(self) -> None:
        self.close()
        self._refuse()
        self._air.hearing.append(self)

    def receive(self, seconds: float) -> bytes | None:
        self._refuse()
        try:
            return self._heard.get(timeout=0.01)
        except queue.Empty:
            return None

    def close(self) -> None:
        if self in self._air.hearing:
            self._air.hearing.remove(self)

    def _refuse(self) -> None:
        if not self._air.is_there:
            raise StoreError("redis.unreachable", "away", temporary=True)


class Node:
    """A bus with the hints of a node, and the topics it heard."""

    def __init__(self, air: Air, offload: Offload) -> None:
        self.bus = LocalBus()
        self.bus.bind(asyncio.get_running_loop())
        self.heard: asyncio.Queue[str] = asyncio.Queue()
        self.bus.watch(lambda topic: self.heard.put_nowait(topic or "*"))
        self.hints = NodeHints(Channel(air), lambda topics: deliver(self.bus, topics), offload, SystemClock())
        self.bus.relay = self.hints.publish
        self.task = asyncio.create_task(self.hints.run())

    async def hears(self) -> str:
        async with asyncio.timeout(5):
            return await self.heard.get()


Nodes = tuple[Air, Node, Node]


@pytest.fixture
async def nodes(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Nodes]:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.02)
    air, offload = Air(), Offload(4)
    one, other = Node(air, offload), Node(air, offload)
    assert (await one.hears(), await other.hears()) == ("*", "*"), "who joins looks for himself"
    yield air, one, other
    for each in (one, other):
        each.task.cancel()
    await asyncio.gather(one.task, other.task, return_exceptions=True)
    offload.close()


async def test_a_hint_is_heard_once_at_home_and_once_elsewhere(nodes: Nodes) -> None:
    air, one, other = nodes
    one.bus.publish("queue")
    assert (await one.hears(), await other.hears()) == ("queue", "queue")
    other.bus.publish("directory")
    assert (await one.hears(), await other.hears()) == ("directory", "directory")
    assert one.heard.empty()
    assert other.heard.empty()
    assert len(air.messages) == 2, "nothing runs in circles"


async def test_what_is_each_nodes_own_stays_at_home(nodes: Nodes) -> None:
    air, one, other = nodes
    one.bus.publish("account:7")
    assert await one.hears() == "account:7"
    one.bus.publish("queue")
    assert await other.hears() == "queue"
    assert all(b"account" not in message for message in air.messages)


async def test_after_trouble_everybody_looks_for_himself(nodes: Nodes) -> None:
    air, one, other = nodes
    air.is_there = False
    one.bus.publish("queue")
    assert await one.hears() == "queue"
    while not one.hints._is_behind or air.hearing:
        await settle(1)
    air.is_there = True
    assert await one.hears() == "*"
    assert await other.hears() == "*", "it was cut off itself, and what it missed was said by the other"
    while not any(message.endswith(b"\n*") for message in air.messages):
        await settle(1)
    one.bus.publish("queue")
    found = [await other.hears()]
    while found[-1] == "*":
        found.append(await other.hears())
    assert found[-1] == "queue"
    assert len(found) <= 2


@pytest.mark.parametrize(
    ("message", "brought"),
    [
        (b"other\nqueue\nqueue\nconfig\naccount:1", [("queue",)]),
        (b"other\n*", [("*",)]),
        (b"other", []),
        (b"", []),
        (b"\xff\xfe\nqueue", [("queue",)]),
        (b"other\n" + b"x\n" * 100_000, []),
    ],
)
def test_only_known_topics_come_in(message: bytes, brought: Sequence[Sequence[str]]) -> None:
    found: list[Sequence[str]] = []

    async def look() -> None:
        NodeHints(Channel(Air()), found.append, Offload(1), SystemClock())._received(message)

    asyncio.run(look())
    assert found == brought


async def test_a_hub_tells_its_fronts_of_other_nodes_and_says_nothing_of_it_outside(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("hub")
    bus, heard, outside = LocalBus(), asyncio.Event(), list[Sequence[str]]()
    bus.bind(asyncio.get_running_loop())
    bus.subscribe("queue", heard.set)
    with unix_socket.listen(folder / "hub.sock") as listener:
        hub = HubServer(bus, listener.dup())
        hub.outward = outside.append
        await hub.start()
        with unix_socket.connect_nonblocking(folder / "hub.sock") as front:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(front, b"directory\n")
            async with asyncio.timeout(5):
                while not outside:
                    await settle(1)
                hub.bring(("queue",))
                assert await loop.sock_recv(front, 100) == b"queue\n"
                await heard.wait()
        assert outside == [("directory",)]
        hub.close()
