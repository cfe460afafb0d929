"""The policy's and the filters' own files locked, read-only, damaged or unreadable: mail goes on or is put off, never lost."""

from __future__ import annotations

import contextlib
import shutil
import smtplib
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import CONFIG, PASSWORD, Daemon, eventually, mail, untrusting

pytestmark = [pytest.mark.system, pytest.mark.slow]
ALICE, BOB = "alice@example.org", "bob@example.org"
SCRIPT = (
    'require ["fileinto", "copy", "mailbox", "vacation", "duplicate"]; if duplicate { discard; stop; }'
    f'fileinto :copy :create "One"; redirect :copy "{BOB}"; vacation "I am away.";'
)
ANSWER_SECONDS = 12.0
STATE = ("state.db", "junk.db", "journal.db")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    text = CONFIG.format(fronts=2).replace("enabled = false", "enabled = true") + (
        '\n[proxy]\ntrusted_networks = ["127.0.0.1"]\n[abuse]\ngreeting_delay_ms = 0\n'
        '[policy]\nallow = ["203.0.113.0/24"]\n'
    )
    (tmp_path / "config.toml").write_text(text)
    made = Daemon(tmp_path)
    try:
        made.start()
        for address in (ALICE, BOB):
            made.add_account(address)
        made.call("sieve.put", address=ALICE, name="main", source=SCRIPT, activate=True)
        yield made
    finally:
        made.destroy()


class Stranger(smtplib.SMTP):
    """Comes through the proxy, so all checks look at it."""

    def __init__(self, port: int, remote_ip: str) -> None:
        self._remote_ip = remote_ip
        super().__init__("127.0.0.1", port, "client.example.net", timeout=30)

    def _get_socket(self, host: str, port: int, timeout: float) -> object:
        made = super()._get_socket(host, port, timeout)  # type: ignore[misc]
        made.sendall(f"PROXY TCP4 {self._remote_ip} 127.0.0.1 50000 25\r\n".encode())
        return made


def send(daemon: Daemon, message_id: str, remote_ip: str, recipient: str = ALICE) -> int:
    """The code of the first reply that refuses, or of the last; in time."""
    began = time.monotonic()
    with Stranger(daemon.ports["smtp"], remote_ip) as client:
        client.ehlo()
        for code, _ in (client.docmd("MAIL", "FROM:<carol@example.net>"), client.docmd("RCPT", f"TO:<{recipient}>")):
            if code != 250:
                break
        else:
            code, _ = client.data(mail(message_id))
    assert time.monotonic() - began < ANSWER_SECONDS
    return int(code)


def submit(daemon: Daemon) -> int:
    context = untrusting()
    with socket.create_connection(("127.0.0.1", daemon.ports["submissions"]), 20) as plain:
        plain.sendall(b"PROXY TCP4 203.0.113.9 127.0.0.1 50000 465\r\n")
        with context.wrap_socket(plain) as connection:
            client = smtplib.SMTP()
            client.sock = connection
            client.file = None
            client._host = "127.0.0.1"
            assert client.getreply()[0] == 220
            client.login(ALICE, PASSWORD)
            message = mail("<mine@example.org>").replace(b"bob@example.net", ALICE.encode())
            for code, _ in (client.docmd("MAIL", f"FROM:<{ALICE}>"), client.docmd("RCPT", f"TO:<{BOB}>")):
                if code != 250:
                    return int(code)
            return int(client.data(message)[0])


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def read(daemon: Daemon, address: str, mailbox: str) -> list[str]:
    """What is stored, from the files: IMAP would need a PROXY header."""
    local, _, domain = address.partition("@")
    folder = daemon.folder / "data" / "mail" / domain / local / "Maildir"
    folder = folder if mailbox == "INBOX" else folder / f".{mailbox}"
    found = []
    for place in ("new", "cur"):
        for path in (folder / place).glob("*") if (folder / place).is_dir() else ():
            head = path.read_bytes().partition(b"\r\n\r\n")[0].decode()
            found.append(next(line[12:] for line in head.split("\r\n") if line.startswith("Message-ID: ")))
    return sorted(found)


def expect_all(daemon: Daemon, promised: list[str]) -> None:
    for address, mailbox in ((ALICE, "INBOX"), (ALICE, "One"), (BOB, "INBOX")):

        def there(address: str = address, mailbox: str = mailbox) -> bool:
            found = read(daemon, address, mailbox)
            return all(found.count(each) == 1 for each in promised)

        eventually(f"all promised mail once in {mailbox} of {address}", there)


@pytest.mark.parametrize("name", STATE)
def test_a_locked_file_of_the_policy_costs_nobody_a_message(daemon: Daemon, name: str) -> None:
    path = daemon.folder / "data" / name
    eventually("the file", path.exists)
    promised = []
    with held(path):
        for number in range(6):
            message_id = f"<locked-{number}@example.net>"
            code = send(daemon, message_id, f"203.0.113.{number + 1}")  # on the allow list
            assert code == 250 or 400 <= code < 500, (name, code)
            if code == 250:
                promised.append(message_id)
            code = send(daemon, f"<s-{number}@example.net>", f"198.51.100.{number + 1}")  # greylisted, if that works
            assert code == 250 or 400 <= code < 500, (name, code)
        assert submit(daemon) == 250
        assert daemon.call("status")["ready"]
    assert promised
    assert send(daemon, "<after@example.net>", "203.0.113.1") == 250
    expect_all(daemon, [*promised, "<after@example.net>"])
    assert daemon.stop() == 0


@pytest.mark.parametrize("name", ["state.db", "junk.db"])
def test_a_damaged_file_of_the_policy_costs_nobody_a_message(daemon: Daemon, name: str) -> None:
    path = daemon.folder / "data" / name
    eventually("the file", path.exists)
    daemon.stop()
    path.write_bytes(b"This is no database.\n" * 4_000)
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    daemon.start()
    promised = []
    for number in range(4):
        message_id = f"<damaged-{number}@example.net>"
        code = send(daemon, message_id, f"203.0.113.{number + 1}")
        assert code == 250 or 400 <= code < 500, (name, code)
        if code == 250:
            promised.append(message_id)
        code = send(daemon, f"<s-{number}@example.net>", f"198.51.100.{number + 1}")
        assert code == 250 or 400 <= code < 500, (name, code)
    assert promised
    expect_all(daemon, promised)
    assert daemon.stop() == 0


def test_scripts_that_cannot_be_read_put_mail_off_or_let_it_pass(daemon: Daemon) -> None:
    assert send(daemon, "<first@example.net>", "203.0.113.1") == 250
    folder = daemon.folder / "data" / "mail" / "example.org" / "alice" / "sieve"
    script = folder / "main.sieve"
    source = script.read_bytes()
    script.unlink()
    script.mkdir()  # an error that is neither "gone" nor a right
    code = send(daemon, "<second@example.net>", "203.0.113.1")
    assert code == 250 or 400 <= code < 500
    script.rmdir()
    script.write_bytes(source)
    shutil.move(folder, folder.with_name("away"))
    folder.write_bytes(b"a file where the folder was")
    third = send(daemon, "<third@example.net>", "203.0.113.1")
    assert third == 250 or 400 <= third < 500
    folder.unlink()
    shutil.move(folder.with_name("away"), folder)
    assert send(daemon, "<fourth@example.net>", "203.0.113.1") == 250
    promised = ["<first@example.net>", "<fourth@example.net>"]
    expect_all(daemon, promised)
    for message_id, answer in (("<second@example.net>", code), ("<third@example.net>", third)):
        assert read(daemon, ALICE, "INBOX").count(message_id) == (answer == 250)
    assert daemon.stop() == 0
