"""A database that somebody else keeps locked: temporary answers in bounded time, for those concerned only."""

from __future__ import annotations

import contextlib
import smtplib
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.daemon import PASSWORD, Daemon, eventually, mail, untrusting
from tests.support.rough import metric, trouble

pytestmark = [pytest.mark.system, pytest.mark.slow]
ALICE, BOB = "alice@example.org", "bob@example.org"
ANSWER_SECONDS = 17.0
"""Three waits of the busy time-out (5 s), and some."""
UNTOUCHED_SECONDS = 4.0
"""What is not concerned does not wait for even one of them."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    made = Daemon(tmp_path_factory.mktemp("busy"))
    try:
        made.start()
        for address in (ALICE, BOB):
            made.add_account(address)
            assert send(made, address) == 250
        yield made
        assert trouble(made) == []
        assert metric(made, "errors_total") == 0
        assert made.call("store.check")["problems"] == []
    finally:
        made.destroy()


@contextlib.contextmanager
def held(daemon: Daemon, name: str) -> Iterator[None]:
    """Keep the write lock of a database, as a backup tool may."""
    connection = sqlite3.connect(daemon.folder / "data" / name, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def index(address: str) -> str:
    local, _, domain = address.partition("@")
    return str(Path("mail", domain, local, "index.db"))


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def send(daemon: Daemon, recipient: str) -> int:
    with daemon.smtp() as client:
        client.ehlo()
        for code, _ in (client.docmd("MAIL", "FROM:<x@example.net>"), client.docmd("RCPT", f"TO:<{recipient}>")):
            if code != 250:
                return int(code)
        return int(client.data(mail("<busy@example.net>"))[0])


def submit(daemon: Daemon, recipient: str) -> int:
    message = mail("<busy@example.net>").replace(b"bob@example.net", ALICE.encode())
    with smtplib.SMTP_SSL("127.0.0.1", daemon.ports["submissions"], context=untrusting(), timeout=30) as client:
        client.login(ALICE, PASSWORD)
        for code, _ in (client.docmd("MAIL", f"FROM:<{ALICE}>"), client.docmd("RCPT", f"TO:<{recipient}>")):
            if code != 250:
                return int(code)
        return int(client.data(message)[0])


def test_one_locked_mailbox_holds_up_nobody_else(daemon: Daemon) -> None:
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(8) as at_once:
        mine = [stack.enter_context(daemon.imap(ALICE)) for _ in range(5)]
        other = stack.enter_context(daemon.imap(BOB))
        for each in (*mine, other):
            each.select("INBOX")
        with held(daemon, index(ALICE)), within(ANSWER_SECONDS):
            refused = [
                at_once.submit(mine[0].append, "INBOX", "", "", mail("<busy-2@example.net>")),
                at_once.submit(mine[1].store, "1:*", "+FLAGS", "(\\Flagged)"),
                at_once.submit(mine[2].copy, "1:*", "Trash"),
                at_once.submit(mine[3].create, "New"),
            ]
            code = at_once.submit(send, daemon, ALICE)
            with within(UNTOUCHED_SECONDS):
                status, rows = mine[4].fetch("1:*", "(BODY.PEEK[])")
                assert (status, isinstance(rows[0], tuple)) == ("OK", True)
                assert send(daemon, BOB) == 250
                assert other.append("INBOX", "", "", mail("<busy-3@example.net>"))[0] == "OK"
                assert other.store("1:*", "+FLAGS", "(\\Flagged)")[0] == "OK"
                assert submit(daemon, BOB) == 250
                daemon.call("alias.add", address="sales@example.org", targets=[ALICE, BOB])
            assert send(daemon, "sales@example.org") == 250  # one copy is stored now, the other waits in the queue
            assert 400 <= code.result() < 500
            for each in refused:
                status, text = each.result()
                assert (status, b"INUSE" in text[0]) == ("NO", True)
        assert send(daemon, ALICE) == 250
        assert mine[0].append("INBOX", "", "", mail("<busy-4@example.net>"))[0] == "OK"
        assert mine[1].store("1:*", "+FLAGS", "(\\Flagged)")[0] == "OK"


def test_many_senders_to_a_locked_mailbox_leave_room_for_others(daemon: Daemon) -> None:
    """More than there are threads."""
    clients = []
    with contextlib.ExitStack() as stack:
        with held(daemon, index(ALICE)):
            for _ in range(60):
                client = stack.enter_context(daemon.smtp())
                client.ehlo()
                assert client.docmd("MAIL", "FROM:<x@example.net>")[0] == 250
                assert client.docmd("RCPT", f"TO:<{ALICE}>")[0] == 250
                assert client.docmd("DATA")[0] == 354
                client.send(mail("<many@example.net>") + b".\r\n")
                clients.append(client)
            with within(UNTOUCHED_SECONDS), daemon.imap(BOB) as other:
                assert send(daemon, BOB) == 250
                assert other.select("INBOX")[0] == "OK"
                assert other.append("INBOX", "", "", mail("<busy-5@example.net>"))[0] == "OK"
        with within(ANSWER_SECONDS):
            assert {client.getreply()[0] for client in clients} <= {250, 451}


def test_many_sessions_in_a_locked_mailbox_leave_room_for_others(daemon: Daemon) -> None:
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(daemon.imap(ALICE)) for _ in range(40)]
        for each in sessions:
            each.select("INBOX")
        with held(daemon, index(ALICE)):
            for each in sessions:
                each.send(b"a STORE 1 +FLAGS (\\Answered)\r\n")
            with within(UNTOUCHED_SECONDS), daemon.imap(BOB) as other:
                assert other.select("INBOX")[0] == "OK"
                assert send(daemon, BOB) == 250
        with within(ANSWER_SECONDS):
            for each in sessions:
                while not (line := each.readline()).startswith(b"a "):
                    assert line
                assert line[2:4] in {b"OK", b"NO"}


def test_a_locked_queue_refuses_only_what_must_leave(daemon: Daemon) -> None:
    with held(daemon, "queue.db"):
        with within(ANSWER_SECONDS):
            assert 400 <= submit(daemon, "dave@example.com") < 500
        with within(UNTOUCHED_SECONDS):
            assert send(daemon, ALICE) == 250
            assert submit(daemon, BOB) == 250
            assert daemon.call("status")["ready"]
    with within(ANSWER_SECONDS):
        assert submit(daemon, "dave@example.com") == 250
    assert daemon.call("queue.list")["total"] >= 1


def test_a_locked_directory_refuses_only_changes(daemon: Daemon) -> None:
    with held(daemon, "directory.db"):
        with within(ANSWER_SECONDS), pytest.raises(AssertionError, match="busy"):
            daemon.call("alias.add", address="more@example.org", targets=[BOB])
        with within(UNTOUCHED_SECONDS):
            assert send(daemon, ALICE) == 250
            assert submit(daemon, BOB) == 250
            assert daemon.call("user.list")["users"]
    daemon.call("alias.add", address="more@example.org", targets=[BOB])


def test_a_locked_journal_holds_up_no_mail(daemon: Daemon) -> None:
    with held(daemon, "journal.db"), within(UNTOUCHED_SECONDS):
        assert send(daemon, ALICE) == 250
        assert submit(daemon, BOB) == 250
    eventually("the journal caught up", lambda: daemon.call("queue.stats"))
