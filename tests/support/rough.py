"""Rough treatment of a server, and what it must look like afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import select
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.support.daemon import Daemon, mail, untrusting

ALICE, BOB = "alice@example.org", "bob@example.org"
QUIET_SECONDS = 0.02
"""A server that says nothing for so long after the last byte may be left alone."""
READ_SECONDS = 20.0
SMTP_FRAGMENTS = (
    b"EHLO a\r\n", b"HELO b\r\n", b"MAIL FROM:<>\r\n", b"MAIL FROM:<bob@example.net>", b"RCPT TO:<alice@example.org>\r\n",
    b"RCPT TO:<postmaster>\r\n", b"DATA\r\n", b".\r\n", b"\r\n.\r\n", b"BDAT 5\r\nhello", b"BDAT 3 LAST\r\nabc", b"RSET\r\n",
    b"NOOP x\r\n", b"VRFY a\r\n", b"EXPN a\r\n", b"HELP\r\n", b"STARTTLS\r\n", b"AUTH PLAIN AAA=\r\n", b"AUTH LOGIN\r\n",
    b" SIZE=5", b" BODY=8BITMIME", b" SMTPUTF8", b" RET=HDRS", b" ENVID=+41", b" NOTIFY=NEVER,FAILURE", b" ORCPT=rfc822;a",
    b"\r\n", b"\n", b"\r", b"\0", b"\xff", b"\xc3\xa9", b"<", b">", b"\"", b"\\", b"@", b":", b" ", b"X" * 600, b"0", b"QUIT",
)  # fmt: skip


def clean_daemon(folder: Path) -> Iterator[Daemon]:
    """For a fixture: two accounts, one of them nobody's business; both looked at in the end."""
    daemon = Daemon(folder)
    try:
        daemon.start()
        for address in (ALICE, BOB):
            daemon.add_account(address)
            with daemon.smtp() as client:
                client.sendmail("x@example.net", [address], mail("<first@example.net>"))
        quiet = folder / "data" / "mail" / "example.org" / "bob" / "Maildir"
        before = tree(quiet)
        yield daemon
        check_well(daemon)
        assert tree(quiet) == before
        assert daemon.call("store.check")["problems"] == []
        assert daemon.stop() == 0
    finally:
        daemon.destroy()


def check_well(daemon: Daemon) -> None:
    """A normal session of each kind works, nothing of the abuse was an error of ours, no process ended."""
    for _ in range(2):
        with daemon.smtp() as client:
            client.sendmail("x@example.net", [ALICE], mail("<well@example.net>"))
        with daemon.imap(ALICE) as session:
            assert session.select("INBOX")[0] == "OK"
            assert session.uid("SEARCH", "ALL")[0] == "OK"
    assert trouble(daemon) == []
    assert metric(daemon, "errors_total") == 0
    assert all(row["restarts"] == 0 for row in daemon.call("status")["processes"])


@contextlib.contextmanager
def rude(port: int, *, tls: bool = False, source: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A connection whose end is no failure, whenever it comes."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        address = ("127.0.0.1", port)
        connection = stack.enter_context(socket.create_connection(address, READ_SECONDS, source_address=(source, 0)))
        yield stack.enter_context(untrusting().wrap_socket(connection)) if tls else connection


def exchange(port: int, data: bytes, *, half_open: bool = False) -> bytes:
    """Send everything while reading what comes; what came until the server hung up or fell silent."""
    answers: list[bytes] = []
    left = memoryview(data)
    with (
        contextlib.suppress(OSError),  # also ENOTCONN: it hung up between two looks
        socket.create_connection(("127.0.0.1", port), READ_SECONDS) as connection,
    ):
        connection.setblocking(False)
        deadline = time.monotonic() + READ_SECONDS
        while True:
            patience = max(0.0, deadline - time.monotonic()) if left or half_open else QUIET_SECONDS
            readable, writable, _ = select.select([connection], [connection] if left else [], [], patience)
            if writable:
                left = left[connection.send(left[:262_144]) :]
                if not left and half_open:
                    connection.shutdown(socket.SHUT_WR)
            if readable:
                if not (piece := connection.recv(262_144)):
                    break
                answers.append(piece)
            elif not writable:
                assert not half_open, f"no end within {READ_SECONDS} s: {data[:200]!r}"
                break
            if not data and half_open:
                connection.shutdown(socket.SHUT_WR)
                data = b" "
    return b"".join(answers)


def noise(chance: random.Random, data: bytes) -> bytes:
    """The same with some bytes changed, doubled, dropped."""
    changed = bytearray(data)
    for _ in range(chance.choice([0, 0, 1, 1, 2, 5, 20])):
        if not changed:
            break
        at = chance.randrange(len(changed))
        match chance.randrange(5):
            case 0:
                changed[at] = chance.choice(b'\0\r\n "\\(){}[]<>@:;,.*%+-=&/~\x7f\x80\xff0aZ')
            case 1:
                changed[at] = chance.randrange(256)
            case 2:
                del changed[at : at + chance.randint(1, 8)]
            case 3:
                changed[at:at] = changed[at : at + chance.randint(1, 30)]
            case _:
                changed[at:at] = chance.randbytes(chance.randint(1, 4))
    return bytes(changed)


def trouble(daemon: Daemon) -> list[str]:
    """Log lines with a traceback, and lines no logger wrote."""
    lines = daemon.log_path.read_text(errors="replace").splitlines()
    return [line for line in lines if not line.startswith("{") or "traceback" in json.loads(line)]


def metric(daemon: Daemon, name: str) -> float:
    """The value of one metric without labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{daemon.ports['metrics']}/metrics", timeout=20) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(f"mailserver_{name} "):
                return float(line.rpartition(" ")[2])
    raise AssertionError(f"there is no metric {name}")


def tree(folder: Path, *without: Path) -> dict[str, str]:
    """Every file and folder below, links not followed, with a digest of what is in it."""
    found = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if Path(place, name) not in without]
        found[os.path.relpath(place, folder) + "/"] = ""
        for name in names:
            path = Path(place, name)
            content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            found[os.path.relpath(path, folder)] = hashlib.sha256(content).hexdigest()
    return found
