"""The real daemon behind a proxy and behind another mail server: every listener, several fronts."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import CONFIG, Daemon, eventually

pytestmark = [pytest.mark.system]
HEADER = b"PROXY TCP4 203.0.113.7 127.0.0.1 50000 25\r\n"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    text = CONFIG.format(fronts=2).replace("managesieve = []", 'managesieve = ["127.0.0.1:0"]\npop3s = ["127.0.0.1:0"]')
    text = text.replace("[listen]", f'[listen]\nlmtp = ["unix:{tmp_path}/lmtp", "127.0.0.1:0"]')
    (tmp_path / "config.toml").write_text(text + '\n[proxy]\ntrusted_networks = ["127.0.0.1"]\n')
    made = Daemon(tmp_path)
    made.start()
    yield made
    made.destroy()


def connected(daemon: Daemon, service: str, header: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", daemon.ports[service]), timeout=20)
    connection.sendall(header)
    return connection


def first_line(connection: socket.socket) -> bytes:
    """b"" when the connection was cut off."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while not data.endswith(b"\n") and (got := connection.recv(1)):
            data += got
    return data


def test_each_listener_takes_the_header_and_nothing_without(daemon: Daemon) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for service in ("smtp", "submission", "imap", "managesieve"):
        with connected(daemon, service, HEADER) as connection:
            assert first_line(connection).startswith((b"220", b"* OK", b'"IMPL')), service
    for service in ("submissions", "imaps", "pop3s"):
        with context.wrap_socket(connected(daemon, service, HEADER)) as connection:
            assert first_line(connection).startswith((b"220", b"* OK", b"+OK")), service
    with connected(daemon, "smtp", b"EHLO x\r\n") as connection:
        assert first_line(connection) == b""
    eventually("the log tells why", lambda: b"must send a PROXY header" in daemon.log_path.read_bytes())
    with connected(daemon, "lmtp", HEADER) as connection:  # a stranger behind the proxy is not the server in front
        assert first_line(connection).startswith(b"554 5.7.1 ")


def test_the_log_tells_the_client_and_not_the_proxy(daemon: Daemon) -> None:
    with connected(daemon, "smtp", HEADER) as connection:
        first_line(connection)
        connection.sendall(b"EHLO x.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nQUIT\r\n")
        while connection.recv(1000):
            pass
    log = eventually(
        "the refusal", lambda: [x for x in daemon.log_path.read_text().splitlines() if "relay_denied" in x]
    )
    assert "203.0.113.7" in log[0]
    assert "127.0.0.1" not in log[0]


def test_lmtp_over_the_unix_socket_needs_no_header(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "lmtp"
    assert path.stat().st_mode & 0o777 == 0o660
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        assert first_line(connection).endswith(b"LMTP\r\n")
