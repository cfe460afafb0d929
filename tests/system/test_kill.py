"""kill -9 of a front, the core or everything under load: what was answered 250 or OK is there once and readable.

Ten rounds by default; MAILBOX_KILL_ROUNDS for more.
"""

from __future__ import annotations

import contextlib
import imaplib
import os
import random
import signal
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import BACK_SECONDS, Daemon, eventually, mail

pytestmark = [pytest.mark.system, pytest.mark.slow]
ROUNDS = int(os.environ.get("MAILBOX_KILL_ROUNDS", "10"))
ALICE, BOB = "alice@example.org", "bob@example.org"
LOAD_SECONDS = 0.5
TROUBLE = (OSError, smtplib.SMTPException, imaplib.IMAP4.error)


class Load:
    """Clients that send and append without pause, and note what was promised to them and what they only tried."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._count = 0
        self.sent: list[str] = []
        self.appended: list[str] = []
        self.tried: set[str] = set()
        works = [self._send, self._send, self._send, self._append, self._append]
        self._threads = [threading.Thread(target=self._until_end, args=(work,)) for work in works]

    def __enter__(self) -> Load:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for each in self._threads:
            each.join()

    def _until_end(self, work: object) -> None:
        assert callable(work)
        while not self._end.is_set():
            with contextlib.suppress(*TROUBLE):
                work()
            self._end.wait(0.02)

    def _next(self) -> str:
        with self._lock:
            self._count += 1
            message_id = f"<{self._count}.{random.getrandbits(40):x}@example.net>"
            self.tried.add(message_id)
        return message_id

    def _send(self) -> None:
        with self._daemon.smtp() as client:
            while not self._end.is_set():
                message_id = self._next()
                client.sendmail(
                    "carol@example.net", [ALICE, BOB], mail(message_id, random.choice([300, 5_000, 40_000]))
                )
                self.sent.append(message_id)

    def _append(self) -> None:
        with self._daemon.imap(BOB) as client:
            while not self._end.is_set():
                message_id = self._next()
                status, _ = client.append("Drafts", "", "", mail(message_id, random.choice([300, 5_000])))
                if status == "OK":
                    self.appended.append(message_id)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path, ports=True).start()
    made.add_account(ALICE)
    made.add_account(BOB)
    yield made
    made.destroy()


def kill(daemon: Daemon, victim: str) -> None:
    if victim == "all":
        pids = [each["pid"] for each in daemon.call("status")["processes"]]
        for pid in pids:  # the supervisor is first; the others may already be gone with it
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        daemon.wait()
        eventually("all are gone", lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
        daemon.start()
        return
    row = daemon.process(victim)
    os.kill(row["pid"], signal.SIGKILL)
    eventually("it is back", lambda: daemon.process(victim)["pid"] != row["pid"], BACK_SECONDS)


def test_nothing_promised_is_lost_doubled_or_broken(daemon: Daemon) -> None:
    generator = random.Random(os.environ.get("MAILBOX_KILL_SEED", "mail"))
    with Load(daemon) as load:
        for _ in range(ROUNDS):
            time.sleep(LOAD_SECONDS * generator.random() + 0.1)
            kill(daemon, generator.choice(["front-1", "front-2", "core", "all"]))
    assert len(load.sent) > ROUNDS
    assert len(load.appended) > ROUNDS

    def empty() -> bool:
        return bool(daemon.call("queue.stats")["recipients"] == 0)

    eventually("the queue is empty", empty)
    for address in (ALICE, BOB):
        inbox = Counter(daemon.message_ids(address))
        assert [each for each in load.sent if inbox[each] != 1] == []
        assert set(inbox) <= load.tried
        # Without a 250 the client would send again; the server itself must not have stored it twice.
        assert max(inbox.values()) == 1
    drafts = Counter(daemon.message_ids(BOB, "Drafts"))
    assert [each for each in load.appended if drafts[each] != 1] == []
    assert max(drafts.values()) == 1
    for address in (ALICE, BOB):
        assert daemon.call("store.check", address=address)["problems"] == []
    assert daemon.stop() == 0
