"""A ban made once holds at every front and for every protocol, and ends the same way."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import SECONDS, Daemon, eventually

pytestmark = pytest.mark.system
_TRIES = 12
"""The kernel spreads connections over both fronts: all on one of them is one in two thousand."""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path)
    settings = made.config.read_text().replace(
        "managesieve = []", 'managesieve = ["127.0.0.1:0"]\npop3 = ["127.0.0.1:0"]'
    )
    made.config.write_text(settings + '\n[proxy]\ntrusted_networks = ["127.0.0.1"]\n[abuse]\ngreeting_delay_ms = 0\n')
    made.start()
    yield made
    made.destroy()


def greeting(daemon: Daemon, service: str, remote_ip: str) -> bytes:
    with socket.create_connection(("127.0.0.1", daemon.ports[service]), SECONDS) as connection:
        connection.sendall(f"PROXY TCP4 {remote_ip} 198.51.100.1 40000 25\r\n".encode())
        return connection.makefile("rb").readline()


def test_a_ban_holds_at_all_fronts_for_all_protocols(daemon: Daemon) -> None:
    services = {"smtp": b"421 ", "submission": b"421 ", "imap": b"* BYE", "pop3": b"-ERR", "managesieve": b"BYE"}

    def refused(service: str, remote_ip: str) -> int:
        return sum(greeting(daemon, service, remote_ip).startswith(services[service]) for _ in range(_TRIES))

    assert [refused(service, "192.0.2.1") for service in services] == [0] * 5
    daemon.call("ban.add", network="192.0.2.0/24", seconds=3600)
    for service in services:
        eventually(f"{service} refuses", lambda service=service: refused(service, "192.0.2.1") == _TRIES)  # type: ignore[misc]
    assert [refused(service, "203.0.113.1") for service in services] == [0] * 5
    daemon.call("ban.remove", network="192.0.2.0/24")
    eventually("let in", lambda: refused("imap", "192.0.2.1") == 0)
