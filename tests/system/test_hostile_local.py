"""The doors for the operator's own machine: control socket and metrics page survive whatever knocks."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.daemon import Daemon, eventually
from tests.support.rough import check_well, clean_daemon, exchange, noise

pytestmark = pytest.mark.system
SECONDS = float(os.environ.get("MAILBOX_HOSTILE_SECONDS", "4"))
SEED = int(os.environ.get("MAILBOX_HOSTILE_SEED", "1"))
FRAMES = (
    {"id": 1, "method": "status", "params": {}, "via": "test"},
    {"id": 2, "method": "sub", "params": {"topic": "status", "max_hz": 10}, "via": "console"},
    {"id": 3, "method": "unsub", "params": {"sub": 1}, "via": "x"},
    {"id": 4, "method": "queue.list", "params": {"sort": "next", "limit": 5}, "via": "cli"},
    {"id": 5, "method": "user.list", "params": {}, "via": "cli"},
    {"id": 6, "method": "schema", "params": {}, "via": "cli"},
    {"id": 7, "method": "audit.list", "params": {"limit": 5}, "via": "cli"},
    {"id": 8, "method": "config.get", "params": {"key": "server.hostname"}, "via": "cli"},
    {"id": 9, "method": "domain.show", "params": {"name": "example.org"}, "via": "cli"},
    {"id": 10, "method": "store.check", "params": {"address": "../../etc/passwd@example.org"}, "via": "cli"},
    {"id": 11, "method": "user.show", "params": {"address": "x" * 5_000 + "@example.org"}, "via": "\x1b[2J"},
    {"id": 12, "method": "audit.verify", "params": {}, "via": "cli"},
)
CASES = (
    b"", b"\n" * 10_000, b"\0" * 5_000 + b"\n", b"\xff\xfe\n", b"{\n", b"null\n", b"[]\n", b"{}\n", b'"x"\n', b"1e999999\n",
    b"[" * 200_000 + b"\n", b'{"a":' * 100_000 + b"\n", b'{"id":1e400,"method":"status","params":{},"via":"x"}\n',
    b'{"id":99999999999999999999999,"method":"status","params":{},"via":"x"}\n', b"x" * (2 << 20), b"x" * (2 << 20) + b"\n",
    b'{"id":1,"method":"status","params":"' + b"x" * (2 << 20) + b'","via":"x"}\n',
    b'{"id":1,"method":"' + b"m" * 900_000 + b'"}\n',
    b'{"id":1,"method":"sub","params":{"topic":"status","max_hz":1e308},"via":"x"}\n',
    b'{"id":1,"method":"status","method":"status","params":{"a":1},"via":"x"}\n',
    b'{"id":1,"method":"user.add","params":{"address":"\\u0000@example.org","password":"long enough for it"},"via":"x"}\n',
    b'{"id":1,"method":"user.add","params":{"address":"../x@example.org","password":"long enough for it"},"via":"x"}\n',
    b'{"id":1,"method":"domain.add","params":{"name":"../../tmp"},"via":"x"}\n',
    b'{"id":1,"method":"domain.add","params":{"name":"\\ud800.example"},"via":"x"}\n',
    b'{"id":1,"method":"config.set","params":{"key":"server.hostname\\n[x]","value":"\\"\\n[y]"},"via":"x"}\n',
)  # fmt: skip
REQUESTS = (
    b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /health/detailed HTTP/1.0\r\n\r\n",
    b"HEAD /ready HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\nx", b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", b"GET /%00%ff HTTP/1.1\r\n\r\n", b"GET\r\n\r\n", b"\0" * 100_000, b"\r\n" * 50_000,
    b"GET /metrics HTTP/1.1\r\n" + b"X-A: b\r\n" * 50_000 + b"\r\n", b"GET /metrics HTTP/9.9\r\nHost: " + b"x" * 300_000,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"GET /metrics HTTP/1.1\r\n\r\n" * 3_000,
)  # fmt: skip


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    yield from clean_daemon(tmp_path_factory.mktemp("hostile"))


def knock(daemon: Daemon, data: bytes, quiet_seconds: float = 0.03) -> bytes:
    """Send bytes to the control socket; what came until silence."""
    answers = b""
    with contextlib.suppress(ConnectionError, TimeoutError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(os.path.relpath(daemon.folder / "run" / "control.sock"))
        connection.sendall(data)
        connection.settimeout(quiet_seconds)
        while len(answers) < 10_000_000 and (piece := connection.recv(262_144)):
            answers += piece
    return answers


def ask(daemon: Daemon) -> bytes:
    return exchange(daemon.ports["metrics"], REQUESTS[0], half_open=True)


def core_bytes(daemon: Daemon) -> int:
    pid = daemon.process("core")["pid"]
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_frames_that_are_none_are_answered(daemon: Daemon) -> None:
    for data in CASES:
        answers = knock(daemon, data, 0.2)
        for line in answers.split(b"\n")[:-1]:
            json.loads(line)
        if data.endswith(b"}\n") and len(data) < 1 << 20:  # a longer one is cut off while it comes
            assert b'"error"' in answers or b'"result"' in answers or b'"sub"' in answers, (data[:100], answers[:500])
    check_well(daemon)


def test_random_frames(daemon: Daemon) -> None:
    chance, end = random.Random(SEED), time.monotonic() + SECONDS
    while time.monotonic() < end:
        frames = [json.dumps(chance.choice(FRAMES)).encode() + b"\n" for _ in range(chance.randint(1, 30))]
        knock(daemon, noise(chance, b"".join(frames)))
    check_well(daemon)


def test_clients_that_never_read_cost_a_bounded_amount(daemon: Daemon) -> None:
    knock(daemon, (json.dumps(FRAMES[5]).encode() + b"\n") * 100, 0.3)
    before = core_bytes(daemon)
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(os.path.relpath(daemon.folder / "run" / "control.sock"))
            connection.settimeout(0.1)
            with contextlib.suppress(TimeoutError):
                connection.sendall(
                    b"".join(json.dumps(each).encode() + b"\n" for each in (FRAMES[1], FRAMES[5]) * 2_000)
                )
        assert daemon.call("status")["ready"]
        assert core_bytes(daemon) - before < 60 << 20
    check_well(daemon)


def test_more_clients_than_there_is_room_for_are_told_so(daemon: Daemon) -> None:
    with contextlib.ExitStack() as stack:
        answers = b""
        for _ in range(80):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.settimeout(5)
            connection.connect(os.path.relpath(daemon.folder / "run" / "control.sock"))
            answers += connection.recv(65_536)
        assert b"control.busy" in answers
    check_well(daemon)


def test_requests_that_are_none_are_answered_or_dropped(daemon: Daemon) -> None:
    chance, end = random.Random(SEED), time.monotonic() + SECONDS / 2
    for request in REQUESTS:
        exchange(daemon.ports["metrics"], request, half_open=True)
        exchange(daemon.ports["metrics"], request)
    while time.monotonic() < end:
        exchange(daemon.ports["metrics"], noise(chance, chance.choice(REQUESTS)[:2_000]), half_open=True)
    check_well(daemon)


@pytest.mark.slow
def test_requests_that_never_end_are_let_go(daemon: Daemon) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(150):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", daemon.ports["metrics"]), 5))
            connection.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        eventually("the page is there again", lambda: b"mailserver_errors_total" in ask(daemon))
        check_well(daemon)
