"""kill -9 of the core or of everything while mail leaves: nothing is lost, and a kill doubles a message once at most.

What a remote server has taken is marked when its answer is read, so only messages whose answer was still on its way at the
instant of a kill go out again: nobody can know. Fifteen rounds by default; MAILBOX_KILL_ROUNDS for more.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailbox_app.demo.remote_server import RemoteServer
from mailbox_app.events.bus import LocalBus
from mailbox_app.mailqueue.model import Envelope, Fate, NewRecipient, QueueFilter
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.mailqueue.sqlite.backend import SqliteQueue
from tests.support.daemon import Daemon, eventually
from tests.support.dns_thread import dns_in_thread
from tests.system.test_kill import kill

pytestmark = [pytest.mark.system, pytest.mark.slow]
ROUNDS = int(os.environ.get("MAILBOX_KILL_ROUNDS", "15"))
MESSAGES_A_ROUND = 40
DESTINATIONS = 8
UNREAD = 4
"""Answers on their way at the instant of a kill, of 40 deliveries at once: measured 1.4 on a busy machine."""


@contextmanager
def sink() -> Iterator[RemoteServer]:
    """A remote server on a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = RemoteServer()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(5)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


def delivered(server: RemoteServer) -> Counter[str]:
    """How often each message arrived, by its subject."""
    return Counter(
        line.removeprefix(b"Subject: ").decode()
        for message in list(server.messages)
        for line in message.content.split(b"\r\n")
        if line.startswith(b"Subject: ")
    )


class Feeder:
    """Puts messages into the daemon's queue, as its fronts do."""

    def __init__(self, folder: Path) -> None:
        self._spool = Spool(folder / "data" / "queue")
        self.queue = SqliteQueue(folder / "data" / "queue.db", self._spool, LocalBus())
        self.subjects: list[str] = []

    def feed(self) -> None:
        for _ in range(MESSAGES_A_ROUND):
            number = len(self.subjects)
            self.subjects.append(f"number-{number}")
            content = f"From: a@example.org\r\nSubject: number-{number}\r\n\r\n{'text ' * 200}\r\n".encode()
            self.queue.enqueue(
                Envelope("a@example.org"),
                [NewRecipient(f"r{number}@d{number % DESTINATIONS}.example")],
                self._spool.write(b"", content),
                datetime.now(UTC),
            )


def test_mail_that_leaves_survives_every_kill(tmp_path: Path) -> None:
    generator = random.Random(os.environ.get("MAILBOX_KILL_SEED", "mail"))
    with sink() as server, dns_in_thread() as dns:
        for number in range(DESTINATIONS):
            dns.zone[f"d{number}.example", "MX"] = [f"10 mx{number}.example."]
            dns.zone[f"mx{number}.example", "A"] = ["127.0.0.1"]
        daemon = Daemon(tmp_path, fronts=1, ports=True)
        text = daemon.config.read_text().replace("127.0.0.1:9", dns.address)
        daemon.config.write_text(f"{text}\n[delivery]\nport = {server.port}\nallow_private_addresses = true\n")
        try:
            daemon.start()
            feeder = Feeder(tmp_path)
            kills = 0
            for _ in range(ROUNDS):
                feeder.feed()
                before = len(server.messages)
                daemon.call("queue.pause", domain="none.example", reason="test")
                daemon.call("queue.resume", domain="none.example")  # a hint, as the fronts give
                eventually("mail leaves", lambda before=before: len(server.messages) > before)
                time.sleep(0.08 * generator.random())
                kill(daemon, generator.choice(["core", "core", "all"]))
                kills += 1
            eventually("the queue is empty", lambda: feeder.queue.stats(datetime.now(UTC)).recipients == 0, 60)
            copies = delivered(server)
            assert set(copies) == set(feeder.subjects)
            doubled = {subject: count - 1 for subject, count in copies.items() if count > 1}
            assert max(doubled.values(), default=0) <= 2
            assert sum(doubled.values()) <= kills * UNREAD
            left = feeder.queue.history(QueueFilter(), 0, len(copies) + 10)
            assert Counter(each.address.partition("@")[0] for each in left) == {
                f"r{number}": 1 for number in range(len(copies))
            }
            assert {each.fate for each in left} == {Fate.DELIVERED}
            feeder.queue.close()
            assert daemon.stop() == 0
        finally:
            daemon.destroy()
