"""Two processes deliver from one queue, four messages at once each, and are killed in the middle; so is Redis.

What was accepted arrives, and a kill doubles one message at most. Five rounds by default; MAILBOX_KILL_ROUNDS for more.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from mailbox_app.clock import SystemClock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import QueueError
from mailbox_app.events.bus import LocalBus
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.bounces import Bounces
from mailbox_app.mailqueue.delivery_marks import DeliveryMarks
from mailbox_app.mailqueue.model import Fate, Lease, Outcome
from mailbox_app.mailqueue.opening import OpenQueue
from mailbox_app.mailqueue.runner import QueueRunner
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.mailqueue.sqlite.backend import SqliteQueue
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
    """One queue, in Redis or in SQLite, processes with a runner each, and what they have delivered.

    With Redis each process is a node with folders of its own, with SQLite they share them.
    """

    def __init__(self, directory: Path, backend: str) -> None:
        self.directory = directory
        self.is_redis = backend == "redis"
        self.server = RedisServer(directory / "redis")
        if self.is_redis:
            self.server.start()
        self.delivered_path = directory / "delivered"
        self.delivered_path.touch()
        self.queue = self.open("front", RecordingBus())
        self.accepted: list[QueueId] = []
        self.children: dict[str, int] = {}

    def spool(self, node: str) -> Spool:
        return Spool(self.directory / (node if self.is_redis else "queue"), durable=False)

    def open(self, node: str, bus: RecordingBus | LocalBus) -> OpenQueue:
        if self.is_redis:
            return redis_queue(self.server, self.spool(node), bus, node=node)
        return SqliteQueue(self.directory / "queue.db", self.spool(node), bus)

    def start(self, node: str, *, workers: int = 4, seconds: float = 0.02) -> None:
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
        bounces = Bounces(queue, self.spool(node), lambda domain: False, node, clock)
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
            marks=DeliveryMarks(self.directory / f"marks-{node if self.is_redis else 'shared'}"),
        )
        await runner.run()

    def kill(self, node: str) -> None:
        child = self.children.pop(node)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    def accept(self, count: int) -> None:
        """Take messages in like a front: what fails for a while is refused, and its client comes again."""
        spool = self.spool("front")
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
        self.wait_until(lambda: self.queue.stats(SystemClock().now()).recipients == 0)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                if condition():
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


@pytest.fixture(params=["sqlite", "redis"])
def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    made = Cluster(tmp_path, request.param)
    yield made
    made.destroy()


def test_two_processes_share_the_work_and_nothing_goes_out_twice(cluster: Cluster) -> None:
    for node in ("one", "two"):
        cluster.start(node)
    cluster.accept(MESSAGES)
    cluster.wait_until_empty()
    assert cluster.delivered() == Counter(cluster.accepted)


def test_a_killed_process_loses_nothing_and_repeats_at_most_one_message_a_kill(cluster: Cluster) -> None:
    kills = 0
    for node in ("one", "two"):
        cluster.start(node)
    for _ in range(ROUNDS):
        before = len(cluster.accepted)
        cluster.accept(MESSAGES // ROUNDS)
        cluster.wait_until(lambda before=before: sum(cluster.delivered().values()) > before)  # type: ignore[misc]
        time.sleep(random.random() * 0.2)  # any moment will do
        victim = random.choice(["one", "two"])
        cluster.kill(victim)
        kills += 1
        cluster.start(victim)
    cluster.wait_until_empty()
    delivered = cluster.delivered()
    assert [each for each in cluster.accepted if not delivered[each]] == []
    assert sum(delivered.values()) - len(cluster.accepted) <= kills


@pytest.mark.parametrize("cluster", ["redis"], indirect=True)
def test_a_killed_redis_has_everything_it_said_it_had(cluster: Cluster) -> None:
    for node in ("one", "two"):
        cluster.start(node)
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
