"""`mailbox sendmail` and links of that name, against the real daemon, as programs of this machine call it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon

pytestmark = pytest.mark.system
ALICE, MASTER = "alice@example.org", "postmaster@example.org"
CRON = b"From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@box> backup\n\ndone\n"
RUN = """
import locale, os, sys
import mailbox_app.cli.commands.sendmail, mailbox_app.config.load
from mailbox_app.cli.main import main

uid = int(sys.argv[1])
sys.argv = sys.argv[2:]
if uid:  # everything is imported: the other user may not read this Python
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
sys.exit(main())
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path)
    yield made
    made.destroy()


def sendmail(
    daemon: Daemon, *arguments: str, content: bytes = CRON, called: str = "sendmail", user: int = 0
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", RUN, str(user), f"/usr/sbin/{called}", *arguments],
        input=content,
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "MAILBOX_CONFIG": str(daemon.config)},
    )


def started(daemon: Daemon, users: str = "") -> Daemon:
    with daemon.config.open("a") as file:
        file.write(f"\n[local_submission]\nusers = {{ {users} }}\n")
    daemon.start()
    for address in (ALICE, MASTER):
        daemon.add_account(address)
    return daemon


def test_cron_mail_of_root_reaches_the_postmaster(daemon: Daemon) -> None:
    started(daemon)
    daemon.call("alias.add", address="root@example.org", targets=[ALICE])
    done = sendmail(daemon, "-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root")
    assert (done.returncode, done.stderr) == (0, b"")
    [message] = daemon.messages(ALICE)
    assert b'From: "CronDaemon" <postmaster@example.org>\r\n' in message
    assert b"Message-ID: <" in message
    assert b"\r\ndone\r\n" in message


def test_recipients_of_the_header_and_no_word_of_bcc(daemon: Daemon) -> None:
    started(daemon)
    text = f"From: {MASTER}\nTo: {ALICE}\nBcc: {MASTER}\nSubject: x\n\n..two dots\n.\nnot this\n".encode()
    assert sendmail(daemon, "-t", content=text).returncode == 0
    for address in (ALICE, MASTER):
        [message] = daemon.messages(address)
        assert b"Bcc" not in message
        assert message.endswith(b"\r\n..two dots\r\n")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["-t", "-f"], 64, b"needs a value"),
        (["-i"], 64, b"no recipients"),
        (["nobody@example.org"], 67, b"No such mailbox here; nothing was sent"),
        (["-f", "eve@far.example", ALICE], 77, b"not yours"),
        (["-N", "perhaps", ALICE], 64, b"-N takes"),
    ],
)
def test_what_cannot_be_sent_is_told_by_sentence_and_code(
    daemon: Daemon, arguments: list[str], status: int, words: bytes
) -> None:
    started(daemon)
    done = sendmail(daemon, *arguments)
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert done.stderr.count(b"\n") == 1
    assert daemon.messages(ALICE) == []


def test_a_server_that_is_down_means_try_again(daemon: Daemon) -> None:
    done = sendmail(daemon, ALICE)
    assert done.returncode == 75
    assert b"nothing was sent" in done.stderr


def test_newaliases_does_nothing_and_speaking_smtp_works(daemon: Daemon) -> None:
    started(daemon)
    assert sendmail(daemon, called="newaliases").returncode == 0
    lines = f"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<{ALICE}>\r\nDATA\r\nFrom: {MASTER}\r\n\r\nhi\r\n.\r\nQUIT\r\n"
    done = sendmail(daemon, "-bs", content=lines.encode())
    assert done.returncode == 0
    assert b"XLOCAL postmaster@example.org" in done.stdout
    assert b"STARTTLS" not in done.stdout
    assert len(daemon.messages(ALICE)) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a program as another user")
def test_another_unix_user_sends_as_its_account_or_not_at_all() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
        os.chmod(folder, 0o755)
        daemon = Daemon(Path(folder))
        try:
            started(daemon, users=f'"www-data" = "{ALICE}"')
            for path in (daemon.config, Path(folder) / "data", Path(folder) / "run"):
                path.chmod(0o755)
            done = sendmail(daemon, "-t", content=f"To: {MASTER}\n\nhi\n".encode(), user=33)
            assert (done.returncode, done.stderr) == (0, b"")
            [message] = daemon.messages(MASTER)
            assert f"<{ALICE}>\r\n".encode() in message
            refused = sendmail(daemon, "-f", MASTER, ALICE, user=33)
            assert refused.returncode == 77
            stranger = sendmail(daemon, ALICE, user=65534)
            assert stranger.returncode == 77
            assert b"local_submission.users" in stranger.stderr
            many = [f"r{number}@far.example" for number in range(160)]  # a web server that was broken into
            assert sendmail(daemon, *many, user=33).returncode == 0
            rows = daemon.call("queue.list", limit=200)["rows"]
            held = [row for row in rows if row["state"] == "held"]
            assert len(held) == 60  # a hundred went before, in one transaction
        finally:
            daemon.destroy()


def test_root_may_send_as_any_account_and_the_socket_stays_in_clear(daemon: Daemon) -> None:
    started(daemon, users=f'"root" = "{MASTER}"')
    text = f"From: Alice <{ALICE}>\nTo: {MASTER}\n\nhi\n".encode()
    assert sendmail(daemon, "-t", "-f", ALICE, content=text).returncode == 0
    [message] = daemon.messages(MASTER)
    assert f"Return-Path: <{ALICE}>\r\n".encode() in message
    # the author is another account's than the sender
    assert sendmail(daemon, "-t", "-f", MASTER, content=text).returncode == 77
    done = sendmail(daemon, "-bs", content=b"EHLO x\r\nSTARTTLS\r\nAUTH PLAIN\r\nRCPT TO:<x@far.example>\r\nQUIT\r\n")
    assert [line[:3] for line in done.stdout.splitlines()[-4:]] == [b"502", b"502", b"503", b"221"]


def test_a_large_message_and_too_large_a_one(daemon: Daemon) -> None:
    with daemon.config.open("a") as file:
        file.write("\n[limits]\nmax_message_bytes = 2000000\n")
    started(daemon)
    head = f"To: {ALICE}\nSubject: large\n\n".encode()
    assert sendmail(daemon, "-t", content=head + b"x" * 70 + b"\n" * 500_000).returncode == 0
    done = sendmail(daemon, "-t", "-i", content=head + (b"x" * 70 + b"\n") * 40_000)
    assert done.returncode == 65
    assert b"larger" in done.stderr
    assert len(daemon.messages(ALICE)) == 1
