"""Large messages cost disk, not memory: ten of 25 MiB at once, in and out, with readers that are slow."""

from __future__ import annotations

import contextlib
import imaplib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.daemon import PASSWORD, Daemon, untrusting
from tests.support.rough import metric, trouble

pytestmark = [pytest.mark.system, pytest.mark.slow]
ALICE = "alice@example.org"
SIZE = 26_214_400 - 4_096
CLIENTS = 10
GROWTH_BYTES = 10 << 20
SECONDS = 120.0
HEAD = b"From: bob@example.net\r\nTo: alice@example.org\r\nSubject: large\r\nMessage-ID: <%d@example.net>\r\n\r\n"
LINE = b"A line of seventy-six characters, as long as the lines of an attachment are\r\n"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    made = Daemon(tmp_path_factory.mktemp("memory"))
    try:
        made.start()
        made.add_account(ALICE)
        for number in range(6):  # each front has done each kind of work once
            send_data(made, number)
            send_bdat(made, number)
            append(made, number)
        for _ in range(6):
            fetch(made, 1)
        yield made
        assert trouble(made) == []
        assert metric(made, "errors_total") == 0
    finally:
        made.destroy()


def blocks(number: int) -> Iterator[bytes]:
    """A message in pieces of 64 KiB."""
    piece = LINE * (65_536 // len(LINE))
    head = HEAD % number
    left = SIZE - len(head)
    yield head
    while left >= len(piece):
        yield piece
        left -= len(piece)
    yield b"x" * (left - 2) + b"\r\n"


@contextlib.contextmanager
def transaction(daemon: Daemon) -> Iterator[tuple[socket.socket, Callable[[], bytes]]]:
    """Sender and recipient are taken; the connection and a reader of reply lines."""
    with socket.create_connection(("127.0.0.1", daemon.ports["smtp"]), SECONDS) as connection:
        lines = connection.makefile("rb")

        def reply() -> bytes:
            while (line := lines.readline())[3:4] == b"-":
                pass
            return line

        assert reply().startswith(b"220")
        for command in (b"EHLO client.example.net", b"MAIL FROM:<bob@example.net>", b"RCPT TO:<%b>" % ALICE.encode()):
            connection.sendall(command + b"\r\n")
            assert reply().startswith(b"250")
        yield connection, reply


def send_data(daemon: Daemon, number: int) -> None:
    with transaction(daemon) as (connection, reply):
        connection.sendall(b"DATA\r\n")
        assert reply().startswith(b"354")
        for piece in blocks(number):
            connection.sendall(piece)
        connection.sendall(b".\r\n")
        assert reply().startswith(b"250")


def send_bdat(daemon: Daemon, number: int) -> None:
    """Chunks of 64 KiB, and one that is nearly everything."""
    with transaction(daemon) as (connection, reply):
        pieces = blocks(number)
        for _ in range(20):
            piece = next(pieces)
            connection.sendall(b"BDAT %d\r\n" % len(piece) + piece)
            assert reply().startswith(b"250")
        rest = b"".join(pieces)
        connection.sendall(b"BDAT %d LAST\r\n" % len(rest) + rest)
        assert reply().startswith(b"250")


def append(daemon: Daemon, number: int) -> None:
    with session(daemon) as client:
        client.send(b"a APPEND INBOX {%d}\r\n" % SIZE)
        assert client.readline().startswith(b"+")
        for piece in blocks(number):
            client.send(piece)
        client.send(b"\r\n")
        assert client.readline().startswith(b"a OK")


def fetch(daemon: Daemon, number: int, pause_seconds: float = 0.0) -> None:
    """Read a whole message, with rests."""
    with session(daemon) as client:
        client.select("INBOX", readonly=True)
        client.send(b"a UID FETCH %d (BODY.PEEK[])\r\n" % number)
        while b"BODY[]" not in (line := client.readline()):
            assert line.startswith(b"*")
        left = int(line.rpartition(b"{")[2].rstrip(b"}\r\n"))
        while left:
            left -= len(client.read(min(left, 1 << 20)))
            time.sleep(pause_seconds)
        while not (line := client.readline()).startswith(b"a "):
            assert line
        assert line.startswith(b"a OK")


@contextlib.contextmanager
def session(daemon: Daemon) -> Iterator[imaplib.IMAP4_SSL]:
    client = imaplib.IMAP4_SSL("127.0.0.1", daemon.ports["imaps"], ssl_context=untrusting(), timeout=SECONDS)
    try:
        client.login(ALICE, PASSWORD)
        yield client
    finally:
        with contextlib.suppress(OSError, ssl.SSLError):
            client.shutdown()


class Peaks:
    """The highest memory of each front above what it had at the beginning."""

    def __init__(self, daemon: Daemon) -> None:
        rows = daemon.call("status")["processes"]
        self._pids = {row["role"]: row["pid"] for row in rows if row["role"].startswith("front")}
        self._before = {role: resident_bytes(pid) for role, pid in self._pids.items()}
        self._highest = dict(self._before)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Peaks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def growth(self) -> dict[str, int]:
        return {role: self._highest[role] - self._before[role] for role in self._pids}

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            for role, pid in self._pids.items():
                self._highest[role] = max(self._highest[role], resident_bytes(pid))


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def slow_fetch(daemon: Daemon, number: int) -> None:
    fetch(daemon, number + 1, pause_seconds=0.03)


@pytest.mark.parametrize("work", [send_data, send_bdat, append, slow_fetch])
def test_ten_large_messages_at_once_cost_little_memory(
    daemon: Daemon, work: Callable[[Daemon, int], None], record_property: Callable[[str, object], None]
) -> None:
    with Peaks(daemon) as peaks, ThreadPoolExecutor(CLIENTS) as clients:
        for done in [clients.submit(work, daemon, number) for number in range(CLIENTS)]:
            done.result(SECONDS)
    mebibytes = {role: round(growth / (1 << 20), 1) for role, growth in peaks.growth.items()}
    record_property("growth_mib", mebibytes)
    assert max(peaks.growth.values()) <= GROWTH_BYTES, mebibytes
