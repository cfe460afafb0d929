"""What was acknowledged is there once and whole, whoever is killed when."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

from mailbox_app.clock import SystemClock
from mailbox_app.ids import Uid
from mailbox_app.store.maildir.backend import MaildirStore
from tests.support.store_place import snapshot
from tests.support.store_writer import REF, SilentBus, body

ROUNDS = int(os.environ.get("MAILBOX_KILL_ROUNDS", "5"))
ROOT = Path(__file__).parents[2]


def start(data_dir: Path, prefix: str, *count: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.store_writer", str(data_dir), prefix, *count]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def acknowledged(lines: list[str]) -> dict[str, int]:
    found = {}
    for line in lines:
        uid, _, name = line.strip().partition(" ")
        if line.endswith("\n"):  # the last one may be cut off by the kill
            found[name] = int(uid)
    return found


def verify(data_dir: Path, expected: dict[str, int]) -> None:
    """Each acknowledged message once, under its UID, with its bytes; nothing else but whole messages."""
    store = MaildirStore(data_dir, SilentBus(), hostname="mx.example.org", clock=SystemClock())
    account = store.account(REF)
    inbox = account.mailbox("INBOX").mailbox_id
    uids = snapshot(account, inbox).uids
    present: dict[str, int] = {}
    for uid in uids:
        with account.open_message(inbox, Uid(uid)) as file:
            data = file.read()
        name = data.split(b"Subject: ")[1].partition(b"\r\n")[0].decode()
        assert data == b"X-Trace: 1\r\n" + body(name)
        assert name not in present
        present[name] = uid
    assert expected.items() <= present.items()
    assert list(store.check(REF)) == []
    files = Counter(path.name.split(",U=")[1] for path in (data_dir / "mail/example.org/alice/Maildir/cur").iterdir())
    assert len(files) == len(uids)
    store.close()


def test_acknowledged_messages_survive_a_kill_at_any_point(tmp_path: Path) -> None:
    chance = random.Random(2026)
    expected: dict[str, int] = {}
    for number in range(ROUNDS):
        process = start(tmp_path, f"r{number}")
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(chance.randrange(1, 120))]
        process.kill()
        lines += process.stdout.readlines()
        process.wait()
        process.stdout.close()
        expected |= acknowledged(lines)
        verify(tmp_path, expected)
    assert len(expected) >= ROUNDS


def test_two_processes_deliver_to_one_account_and_one_is_killed(tmp_path: Path) -> None:
    steady, killed = start(tmp_path, "a", "150"), start(tmp_path, "b")
    assert steady.stdout is not None
    assert killed.stdout is not None
    lines = [killed.stdout.readline() for _ in range(40)]
    killed.kill()
    lines += killed.stdout.readlines()
    killed.wait()
    killed.stdout.close()
    lines += steady.stdout.readlines()
    assert steady.wait() == 0
    steady.stdout.close()
    expected = acknowledged(lines)
    assert sum(name.startswith("a-") for name in expected) == 150
    assert len(set(expected.values())) == len(expected)
    verify(tmp_path, expected)
