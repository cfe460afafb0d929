"""D22: what was sent is in Sent once, whoever puts it there, and nothing is ever taken for something else."""

from __future__ import annotations

import imaplib
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import PASSWORD, SECONDS, Daemon, untrusting

pytestmark = pytest.mark.system
ALICE = "alice@example.org"
SENT = (
    b"From: alice@example.org\r\nTo: bob@example.org\r\nBcc: carol@example.org\r\nSubject: hi\r\n"
    b"Date: Mon, 05 Jan 2026 10:00:00 +0000\r\nMessage-ID: <sent@example.org>\r\n\r\n.dot\r\nbody\r\n"
)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path)
    with made.config.open("a") as file:
        file.write("\n[submission]\nsave_sent = true\n")
    made.start()
    for name in ("alice", "bob", "carol"):
        made.add_account(f"{name}@example.org")
    yield made
    made.destroy()


def submit(daemon: Daemon, content: bytes = SENT) -> None:
    with smtplib.SMTP_SSL(
        "127.0.0.1", daemon.ports["submissions"], "client.example", context=untrusting(), timeout=SECONDS
    ) as client:
        client.login(ALICE, PASSWORD)
        client.sendmail(ALICE, ["bob@example.org", "carol@example.org"], content)


def append(daemon: Daemon, content: bytes = SENT, mailbox: str = "Sent", flags: str = r"(\Seen \Flagged)") -> str:
    with daemon.imap(ALICE) as client:
        status, [answer] = client.append(mailbox, flags, None, content)  # type: ignore[arg-type]
        assert status == "OK"
        return str(answer.decode())


def flags(daemon: Daemon) -> bytes:
    with daemon.imap(ALICE) as client:
        client.select("Sent", readonly=True)
        return b" ".join(imaplib.ParseFlags(client.fetch("1", "(FLAGS)")[1][0]))  # type: ignore[arg-type]


def test_d22_a_copy_that_the_program_stores_afterwards_is_the_one_that_is_there(daemon: Daemon) -> None:
    submit(daemon)
    assert daemon.messages(ALICE, "Sent") == [SENT]
    assert " 1] APPEND" in append(daemon)
    assert daemon.messages(ALICE, "Sent") == [SENT]
    assert set(flags(daemon).split()) >= {b"\\Seen", b"\\Flagged"}


def test_d22_a_copy_that_the_program_stored_before_is_not_stored_again(daemon: Daemon) -> None:
    append(daemon)
    submit(daemon)
    assert daemon.messages(ALICE, "Sent") == [SENT]


def test_d22_other_bytes_are_another_message(daemon: Daemon) -> None:
    submit(daemon)
    other = SENT.replace(b"body", b"BODY")
    append(daemon, other)
    assert daemon.messages(ALICE, "Sent") == [SENT, other]


def test_d22_only_the_sent_mailbox_is_looked_at(daemon: Daemon) -> None:
    submit(daemon)
    append(daemon, mailbox="Drafts")
    append(daemon, mailbox="Drafts")
    assert daemon.messages(ALICE, "Drafts") == [SENT, SENT]


def test_d22_a_copy_that_was_thrown_away_does_not_count(daemon: Daemon) -> None:
    submit(daemon)
    with daemon.imap(ALICE) as client:
        client.select("Sent")
        client.store("1", "+FLAGS", r"(\Deleted)")
        client.expunge()
    append(daemon)
    assert daemon.messages(ALICE, "Sent") == [SENT]


def test_d22_large_messages_too(daemon: Daemon) -> None:
    large = SENT + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 20_000
    submit(daemon, large)
    append(daemon, large)
    assert daemon.messages(ALICE, "Sent") == [large]
