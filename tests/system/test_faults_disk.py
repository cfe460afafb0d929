"""A full and a read-only disk: temporary refusals with a reason, nothing lost, everything well again by itself."""

from __future__ import annotations

import contextlib
import os
import smtplib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import PASSWORD, Daemon, eventually, mail, untrusting
from tests.support.rough import metric, trouble
from tests.support.storage import SmallDisk, small_disk, why_not

pytestmark = pytest.mark.system
ALICE, BOB, CAROL = "alice@example.org", "bob@example.org", "carol@example.org"
DISK_BYTES = 24 << 20
ANSWER_SECONDS = 15.0
"""No answer may take longer, whatever the disk does; the busy time-out is 5 s."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if reason := why_not():
        pytest.skip(reason)
    with small_disk(tmp_path / "data", DISK_BYTES) as made:
        yield made


@pytest.fixture
def daemon(tmp_path: Path, disk: SmallDisk) -> Iterator[Daemon]:
    made = Daemon(tmp_path)
    try:
        made.start()
        for address in (ALICE, BOB, CAROL):
            made.add_account(address)
        yield made
    finally:
        made.destroy()


def send(daemon: Daemon, message_id: str, recipient: str = ALICE, size_bytes: int = 500) -> int:
    """One message on port 25; the code of the first reply that refuses, or of the last."""
    began = time.monotonic()
    with daemon.smtp() as client:
        client.ehlo()
        for code, _ in (client.docmd("MAIL", "FROM:<bob@example.net>"), client.docmd("RCPT", f"TO:<{recipient}>")):
            if code != 250:
                break
        else:
            code, _ = client.data(mail(message_id, size_bytes))
    assert time.monotonic() - began < ANSWER_SECONDS
    return int(code)


def submit(daemon: Daemon, message_id: str, recipient: str) -> int:
    """One message on port 465 as Alice."""
    began = time.monotonic()
    message = mail(message_id).replace(b"bob@example.net", ALICE.encode())
    with smtplib.SMTP_SSL("127.0.0.1", daemon.ports["submissions"], context=untrusting(), timeout=20) as client:
        client.login(ALICE, PASSWORD)
        for code, _ in (client.docmd("MAIL", f"FROM:<{ALICE}>"), client.docmd("RCPT", f"TO:<{recipient}>")):
            if code != 250:
                break
        else:
            code, _ = client.data(message)
    assert time.monotonic() - began < ANSWER_SECONDS
    return int(code)


def send_until_refused(daemon: Daemon) -> list[str]:
    """Messages that were promised, the last ones with hardly any room."""
    promised = []
    for number in range(400):
        message_id = f"<full-{number}@example.net>"
        code = send(daemon, message_id, (ALICE, BOB)[number % 2], 20_000)
        if code == 250:
            promised.append(message_id)
        else:
            assert 400 <= code < 500
            return promised
    raise AssertionError("the disk took more than there is")


def expect_refusals(daemon: Daemon, count: int) -> None:
    """Whatever writes is refused for now; whatever only reads goes on."""
    assert 400 <= send(daemon, "<no-1@example.net>") < 500
    assert 400 <= send(daemon, "<no-1b@example.net>", CAROL) < 500  # an account nobody opened so far
    assert 400 <= send(daemon, "<no-2@example.net>", size_bytes=2_000_000) < 500
    assert 400 <= submit(daemon, "<no-3@example.net>", ALICE) < 500
    assert 400 <= submit(daemon, "<no-4@example.net>", "dave@example.com") < 500
    with daemon.imap(ALICE) as client:
        client.select("INBOX")
        began = time.monotonic()
        assert client.append("INBOX", "", "", mail("<no-5@example.net>"))[0] == "NO"
        assert client.append("INBOX", "", "", mail("<no-6@example.net>", 2_000_000))[0] == "NO"
        for number in range(30):  # small changes may still find room in pages that are there
            refused = client.copy("1:*", "Trash")[0] == "NO"
            if refused:
                break
            assert number < 29
        assert client.create("Work/" + "x" * 50)[0] in {"OK", "NO"}
        assert client.store("1:*", "+FLAGS", "(\\Flagged)")[0] in {"OK", "NO"}
        assert client.noop()[0] == "OK"
        status, answer = client.fetch("1:*", "(BODY.PEEK[])")
        assert status == "OK"
        assert sum(isinstance(row, tuple) for row in answer) == count
        assert time.monotonic() - began < 6 * ANSWER_SECONDS
    for number in range(60):
        try:
            daemon.call("alias.add", address=f"list{number}@example.org", targets=[ALICE, BOB])
        except AssertionError as error:
            assert "full" in str(error) or "storage" in str(error)  # noqa: PT017 - the answer is read
            break
    else:
        raise AssertionError("the directory took sixty aliases with no room")
    assert daemon.call("status")["ready"]


def expect_recovery(daemon: Daemon, promised: dict[str, list[str]]) -> None:
    """Without anybody's help: all that was promised is there once, new mail and changes are taken."""
    eventually("mail is taken again", lambda: send(daemon, "<after@example.net>", CAROL) == 250)
    for address, message_ids in promised.items():
        found = [each for each in daemon.message_ids(address) if "full" in each]
        assert sorted(found) == sorted(message_ids)
    assert submit(daemon, "<after-2@example.net>", "dave@example.com") == 250
    with daemon.imap(ALICE) as client:
        client.select("INBOX")
        assert client.append("INBOX", "", "", mail("<after-3@example.net>"))[0] == "OK"
        assert client.copy("1:*", "Trash")[0] == "OK"
        assert client.store("1:*", "+FLAGS", "(\\Seen)")[0] == "OK"
    daemon.call("alias.add", address="sales@example.org", targets=[ALICE])
    assert daemon.call("store.check")["problems"] == []
    assert trouble(daemon) == []
    assert metric(daemon, "errors_total") == 0
    assert all(row["restarts"] == 0 for row in daemon.call("status")["processes"])


def staged_files(folder: Path) -> list[str]:
    """Half-written files."""
    found = [path for place in folder.rglob("tmp") for path in place.iterdir() if path.is_file()]
    return sorted(str(path) for path in found)


def test_a_full_disk_is_temporary(daemon: Daemon, disk: SmallDisk) -> None:
    assert [send(daemon, "<full-a@example.net>", address) for address in (ALICE, BOB)] == [250, 250]
    disk.fill(leave_bytes=2 << 20)
    promised = send_until_refused(daemon)
    assert len(promised) > 10
    alice = [each for number, each in enumerate(promised) if number % 2 == 0]
    bob = [each for number, each in enumerate(promised) if number % 2]
    disk.fill()
    before = daemon.log_path.stat().st_size
    expect_refusals(daemon, 1 + len(alice))
    time.sleep(3)  # nothing happens, so nothing may be written about it but a reminder
    assert daemon.log_path.stat().st_size - before < 60_000
    assert staged_files(disk.folder) == []
    disk.empty()
    expect_recovery(daemon, {ALICE: ["<full-a@example.net>", *alice], BOB: ["<full-a@example.net>", *bob]})
    assert daemon.stop() == 0


def test_a_stop_with_a_full_disk_is_in_time_and_loses_nothing(daemon: Daemon, disk: SmallDisk) -> None:
    assert send(daemon, "<full-a@example.net>") == 250
    disk.fill()
    send(daemon, "<no@example.net>")
    began = time.monotonic()
    daemon.stop()
    assert time.monotonic() - began < 12
    disk.empty()
    daemon.start()
    expect_recovery(daemon, {ALICE: ["<full-a@example.net>"]})


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing can be opened for writing; the kernel keeps descriptors that are open writable, as it does for a remount."""
    place, side = str(folder), str(folder) + ".ro"
    os.mkdir(side)
    subprocess.run(["mount", "--bind", place, side], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", side], check=True)
    subprocess.run(["mount", "--bind", side, place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)  # what was opened meanwhile stays read-only
        subprocess.run(["umount", "-l", side], check=True)


def test_a_read_only_disk_is_temporary(daemon: Daemon, disk: SmallDisk) -> None:
    assert [send(daemon, "<full-a@example.net>", address) for address in (ALICE, BOB)] == [250, 250]
    daemon.stop()
    daemon.start()  # so that indexes are opened for the first time while nothing can be written
    with read_only(disk.folder):
        assert not os.access(disk.folder, os.W_OK)
        for _ in range(6):  # both fronts
            assert 400 <= send(daemon, "<no-1@example.net>") < 500
            assert 400 <= send(daemon, "<no-2@example.net>", CAROL) < 500
            assert 400 <= submit(daemon, "<no-3@example.net>", "dave@example.com") < 500
        for _ in range(4):
            with daemon.imap(ALICE) as client:
                assert client.select("INBOX", readonly=True)[0] == "NO"
                assert client.append("INBOX", "", "", mail("<no-4@example.net>"))[0] == "NO"
                assert client.noop()[0] == "OK"
    expect_recovery(daemon, {ALICE: ["<full-a@example.net>"], BOB: ["<full-a@example.net>"]})


def test_a_full_run_folder_ends_no_process(tmp_path: Path) -> None:
    """Metrics are files mapped into memory there: a page that finds no room would kill its process."""
    if reason := why_not():
        pytest.skip(reason)
    with small_disk(tmp_path / "run", 2 << 20) as disk:
        daemon = Daemon(tmp_path)
        try:
            daemon.start()
            disk.fill()
            daemon.add_account(ALICE)
            for number in range(4):
                assert send(daemon, f"<full-{number}@example.net>") == 250
                assert send(daemon, "<no@example.net>", "nobody@example.org") == 550
                with daemon.imap(ALICE) as client:
                    client.select("INBOX")
                    for verb in ("NOOP", "CHECK", "CAPABILITY", "NAMESPACE", "EXPUNGE"):
                        assert client._simple_command(verb)[0] == "OK"
                    assert client.store("1:*", "+FLAGS", "(\\Seen)")[0] == "OK"
                    assert client.fetch("1:*", "(ENVELOPE)")[0] == "OK"
            assert all(row["restarts"] == 0 for row in daemon.call("status")["processes"])
            assert metric(daemon, "errors_total") == 0
        finally:
            daemon.destroy()
