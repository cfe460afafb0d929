"""The console on a terminal against the real daemon while mail flows, through its death and return."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import smtplib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import PASSWORD, Daemon, mail, untrusting
from tests.tui.rig import Rig

pytestmark = [pytest.mark.system, pytest.mark.slow]
WAITING = 6


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path, fronts=1, ports=True).start()
    made.add_account("alice@example.org")
    yield made
    made.destroy()


@pytest.fixture
def flow(daemon: Daemon) -> Iterator[None]:
    """A message to alice some times a second, whatever the daemon does."""
    stop = threading.Event()

    def send() -> None:
        number = 0
        while not stop.wait(0.15):
            number += 1
            with contextlib.suppress(OSError, smtplib.SMTPException), daemon.smtp() as client:
                client.sendmail("bob@example.net", "alice@example.org", mail(f"<{number}@example.net>"))

    thread = threading.Thread(target=send)
    thread.start()
    yield
    stop.set()
    thread.join()


def submit(daemon: Daemon, recipients: int) -> None:
    """Mail that cannot be delivered: there is no name server."""
    with smtplib.SMTP_SSL("127.0.0.1", daemon.ports["submissions"], context=untrusting(), timeout=20) as client:
        client.login("alice@example.org", PASSWORD)
        for number in range(recipients):
            message = mail(f"<out{number}@example.org>").replace(b"bob@example.net", b"alice@example.org")
            client.sendmail("alice@example.org", f"u{number}@far.example", message)


def number_after(rig: Rig, label: str) -> int:
    """The last number in the traffic row: messages of the day."""
    line = next(line for line in rig.text().splitlines() if label in line)
    cells = re.findall(r"[\d,]+", line.partition(label)[2])
    return int(cells[1].replace(",", ""))


def rows(rig: Rig) -> list[str]:
    """The queue's rows on the screen."""
    return [line for line in rig.text().splitlines() if "@far.example" in line]


def under_cursor(rig: Rig) -> str:
    return next(line for line in rig.text().splitlines() if line.startswith(">"))


def kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.usefixtures("flow")
def test_console_lives_through_mail_changes_and_the_daemons_death(daemon: Daemon, tmp_path: Path) -> None:
    submit(daemon, WAITING)
    rig = Rig(str(tmp_path / "run" / "control.sock"))
    try:
        rig.until("bob@example.net")
        before = number_after(rig, "in accepted")
        rig.until_true(lambda: number_after(rig, "in accepted") > before + 1)
        rig.until(f"queue {WAITING}")
        change_by_keys(rig)
        rig.press("2")
        rig.until("LAST ANSWER")
        rig.press("/far\r")
        rig.until("waiting match")
        rig.press("g")
        rig.press("j")
        rig.until_true(lambda: len(rows(rig)) == WAITING - 2 and under_cursor(rig) == rows(rig)[1])
        kept = under_cursor(rig)[25:60]
        survives(rig, lambda: kill([daemon.process("core")["pid"]]), kept)
        survives(rig, lambda: everything(daemon), kept, daemon.start)
        rig.press("1")
        before = number_after(rig, "in accepted") if "in accepted" in rig.text() else 0
        rig.until("in accepted")
        rig.until_true(lambda: number_after(rig, "in accepted") > before + 1)
        rig.press("q")
        assert rig.wait() == 0
    finally:
        rig.close()


def deleted_by_imap(daemon: Daemon, subjects: list[str]) -> None:
    """Append to INBOX and to a mailbox that is gone afterwards, then expunge, as a mail program does."""
    with daemon.imap("alice@example.org") as client:
        client.create("Project")
        for mailbox in ("INBOX", "Project"):
            for subject in subjects:
                message = mail(f"<{subject}.{mailbox}@example.net>").replace(b"hello", f"{subject} {mailbox}".encode())
                assert client.append(mailbox, "", "", message)[0] == "OK"  # type: ignore[arg-type]
            client.select(mailbox)
            client.uid("STORE", "1:*", "+FLAGS.SILENT", "(\\Deleted)")
            client.expunge()
            client.unselect()
        client.delete("Project")


def subjects_by_imap(daemon: Daemon, mailbox: str) -> list[str]:
    """What a mail program sees."""
    with daemon.imap("alice@example.org") as client:
        if client.select(mailbox, readonly=True)[0] != "OK":
            return []
        _, rows = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    return sorted(row[1].decode().strip().removeprefix("Subject: ") for row in rows if isinstance(row, tuple))


def test_deleted_mail_comes_back_by_keys_and_is_seen_by_imap(daemon: Daemon, tmp_path: Path) -> None:
    deleted_by_imap(daemon, ["one", "two", "three"])
    rig = Rig(str(tmp_path / "run" / "control.sock"))
    try:
        rig.until("SERVICES")
        rig.press("5")
        rig.until(">  ok   alice@example.org")
        rig.press("\r")
        rig.until("6 messages")
        rig.press("d")
        rig.until("6 deleted messages")
        rig.press("/one\r")
        rig.until("2 of 6 deleted messages match")
        rig.press("\x1b")
        rig.until("can come back")
        rig.press("/three mailbox:INBOX\r")
        rig.until("1 of 6 deleted messages match")
        rig.press("u")
        rig.until("to INBOX?")
        rig.press("y")
        rig.until("1 message is back in INBOX.")
        assert subjects_by_imap(daemon, "INBOX") == ["three INBOX"]
        rig.press("\x1b")
        rig.until("can come back")
        deleted_by_imap_later(daemon)
        rig.until("+1 new, . to show")
        rig.press("*")
        rig.until("All 5 listed are marked")
        rig.press("u")
        rig.until("gone, made again")
        rig.until("y runs")
        rig.press("y")
        rig.until("5 messages are back: 3 in Project, 2 in INBOX.")
        rig.until("1 deleted message")
        assert subjects_by_imap(daemon, "Project") == ["one Project", "three Project", "two Project"]
        assert subjects_by_imap(daemon, "INBOX") == ["one INBOX", "three INBOX", "two INBOX"]
        rig.press("9")
        rig.until("retained.restore")
        rig.press("q")
        assert rig.wait() == 0
    finally:
        rig.close()


def deleted_by_imap_later(daemon: Daemon) -> None:
    """One more, while the console looks."""
    with daemon.imap("alice@example.org") as client:
        client.select("INBOX")
        client.append("INBOX", "(\\Deleted)", "", mail("<late@example.net>"))  # type: ignore[arg-type]
        client.expunge()


def test_accounts_are_changed_by_keys(daemon: Daemon, tmp_path: Path) -> None:
    daemon.call("app_password.add", address="alice@example.org", label="phone")
    rig = Rig(str(tmp_path / "run" / "control.sock"), columns=120, rows=40)
    try:
        rig.until("SERVICES")
        rig.press("5")
        rig.until(">  ok   alice@example.org")
        rig.press("x")
        rig.until("may not log in any more")
        rig.until(">  off  alice@example.org")
        rig.press("x")
        rig.until("may log in again")
        rig.press("e")
        rig.until("quota of alice@example.org (now none):")
        rig.press("2G\r")
        rig.until("may use 2.0 GB")
        rig.press("w")
        rig.until("1 app password")
        rig.press("D")
        rig.until("y runs")
        rig.press("y")
        rig.until("'phone' is void.")
        rig.until("0 app passwords")
        assert daemon.call("app_password.list", address="alice@example.org") == {"app_passwords": []}
        assert daemon.call("user.show", address="alice@example.org")["quota_bytes"] == 2 * 1024**3
    finally:
        rig.close()


def change_by_keys(rig: Rig) -> None:
    """Hold, release, retry, bounce, drop; the audit names each."""
    rig.press("2")
    rig.until_true(lambda: len(rows(rig)) == WAITING)
    rig.press("x")
    rig.until("1 recipient of 1 message held")
    rig.until("HOLD")
    rig.press("x")
    rig.until("1 recipient of 1 message released")
    rig.until_true(lambda: "HOLD" not in rig.text())
    rig.press("j")
    rig.press("r")
    rig.until("1 recipient of 1 message tried again now")
    rig.press("G")
    rig.press("f")
    rig.until("y runs")
    rig.press("y")
    rig.until("returned to their senders")
    rig.until_true(lambda: len(rows(rig)) == WAITING - 1)
    rig.press("G")
    rig.press("D")
    rig.until("y runs")
    rig.press("y")
    rig.until("nobody is told")
    rig.until_true(lambda: len(rows(rig)) == WAITING - 2)
    rig.press("9")
    for action in ("hold", "release", "retry", "bounce", "drop"):
        rig.until(f"queue.{action}")


def survives(rig: Rig, end: object, kept: str, begin: object = None) -> None:
    """Banner, refusal while it is away, and afterwards the same filter and the same row under the cursor."""
    assert callable(end)
    end()
    rig.until("STALE 00:0", 3.0)
    assert kept in rig.text()
    rig.press("x")
    rig.until("Not connected: what you see is old")
    if begin is not None:
        assert callable(begin)
        begin()
        rig.press("R")
    rig.until_true(lambda: "STALE" not in rig.text() and "ok" in rig.text().splitlines()[0])
    rig.until("waiting match")
    rig.until_true(lambda: kept in under_cursor(rig))


def everything(daemon: Daemon) -> None:
    kill([daemon.pid, *(each["pid"] for each in daemon.call("status")["processes"] if each["pid"])])
    daemon.wait()


@pytest.mark.usefixtures("flow")
def test_the_log_follows_and_a_ban_is_made_and_undone(daemon: Daemon, tmp_path: Path) -> None:
    assert daemon.process("core")
    rig = Rig(str(tmp_path / "run" / "control.sock"))
    try:
        rig.until("bob@example.net")
        rig.press("3")
        rig.until("Live: what comes")
        rig.until_true(lambda: rig.text().splitlines()[5].startswith(">"))
        first = rig.text().splitlines()[5]
        rig.until_true(lambda: rig.text().splitlines()[5] != first)
        rig.press("\r")
        rig.until("answered: 250")
        rig.until("alice@example.org")
        rig.press("G")
        rig.until("stored INBOX")
        rig.press("q")
        rig.until("decisions on record")
        rig.press("7")
        rig.until("Nobody waits.")
        rig.press("l")
        rig.until("Nobody is exempt")
        rig.press("l")
        rig.until("Nobody is banned.")
        rig.press("a192.0.2.0/24 7d spam\r")
        rig.until("192.0.2.0/24 may not connect now - u undo")
        rig.until("[bans 1]")
        rig.press("u")
        rig.until("192.0.2.0/24 may come in again")
        rig.until("Nobody is banned.")
    finally:
        rig.close()
