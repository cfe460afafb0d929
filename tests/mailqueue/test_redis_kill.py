"""Nodes that deliver from one Redis are killed in the middle, and so is Redis: what was accepted arrives, next to nothing twice.

Five rounds by default; MAILBOX_KILL_ROUNDS for more.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mailbox_app.clock import SystemClock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import QueueError
from mailbox_app.events.bus import LocalBus
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.bounces import Bounces
from mailbox_app.mailqueue.model import Fate, Lease, Outcome
from mailbox_app.mailqueue.redis.backend import RedisQueue
from mailbox_app.mailqueue.runner import QueueRunner
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.observe.mail_log import MailLog
from mailbox_app.observe.metrics import Metrics
from tests.support.queue import MESSAGE, RecordingBus, outcome, put
from tests.support.redis import RedisServer
from tests.support.redis_queue import redis_queue

pytestmark = [pytest.mark.system, pytest.mark.slow]
ROUNDS = int(os.environ.get("MAILBOX_KILL_ROUNDS", "5"))
MESSAGES = 150
SECONDS = 60.0


class Log:
    """A transport: what it was given is written down before it answers, as a remote server would take it."""

    def __init__(self, path: Path, seconds: float) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._seconds = seconds

    async def deliver(self, lease: Lease) -> Sequence[Outcome]:
        with open(lease.spool_path, "rb") as file:  # noqa: ASYNC230 - it stands for a remote server
            assert file.read() == MESSAGE
        await asyncio.sleep(self._seconds * random.random())
        os.write(self._descriptor, f"{lease.message.queue_id}\n".encode())
        return [outcome(recipient.address, Fate.DELIVERED) for recipient in lease.message.recipients]


class Cluster:
    """One Redis, nodes as processes with a runner each, and what they have delivered."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.server = RedisServer(directory / "redis").start()
        self.delivered_path = directory / "delivered"
        self.delivered_path.touch()
        self.queue = self.open("front", RecordingBus())
        self.accepted: list[QueueId] = []
        self.children: dict[str, int] = {}

    def open(self, node: str, bus: RecordingBus | LocalBus) -> RedisQueue:
        return redis_queue(self.server, Spool(self.directory / node, durable=False), bus, node=node)

    def start(self, node: str, *, workers: int = 1, seconds: float = 0.004) -> None:
        if (child := os.fork()) == 0:
            try:
                asyncio.run(self._run(node, workers, seconds))
            finally:
                os._exit(0)
        self.children[node] = child

    async def _run(self, node: str, workers: int, seconds: float) -> None:
        clock, bus = SystemClock(), LocalBus()
        bus.bind(asyncio.get_running_loop())
        queue = self.open(node, bus)
        bounces = Bounces(queue, Spool(self.directory / node, durable=False), lambda domain: False, node, clock)
        runner = QueueRunner(
            queue,
            {"smtp": Log(self.delivered_path, seconds)},
            bounces,
            offload=Offload(),
            clock=clock,
            bus=bus,
            mail_log=MailLog([]),
            metrics=Metrics(),
            workers=workers,
        )
        await runner.run()

    def kill(self, node: str) -> None:
        child = self.children.pop(node)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    def accept(self, count: int) -> None:
        """Take messages in like a front: what fails for a while is refused, and its client comes again."""
        spool = Spool(self.directory / "front", durable=False)
        while count:
            try:
                self.accepted.append(put(self.queue, spool, SystemClock().now(), [f"r{count}@d{count % 20}.example"]))
                count -= 1
            except QueueError as error:
                if not error.temporary:
                    raise
                time.sleep(0.05)

    def delivered(self) -> Counter[str]:
        return Counter(self.delivered_path.read_text().split())

    def wait_until_empty(self) -> None:
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                if self.queue.stats(SystemClock().now()).recipients == 0:
                    return
            except QueueError as error:
                if not error.temporary:
                    raise
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def destroy(self) -> None:
        for node in list(self.children):
            self.kill(node)
        self.queue.close()
        self.server.destroy()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.destroy()


def test_two_nodes_share_the_work_and_nothing_goes_out_twice(cluster: Cluster) -> None:
    for node in ("one", "two"):
        cluster.start(node, workers=4)
    cluster.accept(MESSAGES)
    cluster.wait_until_empty()
    assert cluster.delivered() == Counter(cluster.accepted)


def test_a_killed_node_loses_nothing_and_repeats_at_most_one_message_a_kill(cluster: Cluster) -> None:
    kills = 0
    for node in ("one", "two"):
        cluster.start(node)
    for _ in range(ROUNDS):
        cluster.accept(MESSAGES // ROUNDS)
        time.sleep(random.random() * 0.2)  # any moment will do
        victim = random.choice(["one", "two"])
        cluster.kill(victim)
        kills += 1
        cluster.start(victim)
    cluster.wait_until_empty()
    delivered = cluster.delivered()
    assert [each for each in cluster.accepted if not delivered[each]] == []
    assert sum(delivered.values()) - len(cluster.accepted) <= kills


def test_a_killed_redis_has_everything_it_said_it_had(cluster: Cluster) -> None:
    for node in ("one", "two"):
        cluster.start(node, workers=4)
    for _ in range(ROUNDS):
        cluster.accept(MESSAGES // ROUNDS)
        time.sleep(random.random() * 0.1)
        cluster.server.kill()
        time.sleep(random.random() * 0.1)
        cluster.server.start()
    cluster.wait_until_empty()
    delivered = cluster.delivered()
    assert [each for each in cluster.accepted if not delivered[each]] == []
    assert max(delivered[each] for each in cluster.accepted) == 1  # a result that could not be told is told later
