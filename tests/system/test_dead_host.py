"""A dead mail server and its recovery, seen from the real daemon: what waits, what is said, what an operator can do."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import PASSWORD, Daemon, eventually, untrusting
from tests.support.dns_thread import dns_in_thread
from tests.support.remote import FakeRemote

pytestmark = pytest.mark.system
ALICE = "alice@example.org"


@pytest.fixture
def port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def daemon(tmp_path: Path, port: int) -> Iterator[Daemon]:
    with dns_in_thread() as dns:
        dns.zone["there.example", "MX"] = ["10 mx.there.example."]
        dns.zone["mx.there.example", "A"] = ["127.0.0.1"]
        made = Daemon(tmp_path, fronts=1)
        text = made.config.read_text().replace('servers = ["127.0.0.1:9"]', f'servers = ["127.0.0.1:{dns.port}"]')
        made.config.write_text(f"{text}\n[delivery]\nallow_private_addresses = true\nport = {port}\n")
        made.start()
        made.add_account(ALICE)
        yield made
        made.destroy()


@contextmanager
def remote(port: int) -> Iterator[FakeRemote]:
    """A mail server at that port, on a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = FakeRemote()
    asyncio.run_coroutine_threadsafe(server.start(port), loop).result(5)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


def submit(daemon: Daemon, number: int) -> None:
    text = f"From: {ALICE}\r\nTo: bob@there.example\r\nSubject: number {number}\r\n\r\nhello\r\n"
    with smtplib.SMTP_SSL("127.0.0.1", daemon.ports["submissions"], context=untrusting(), timeout=20) as client:
        client.login(ALICE, PASSWORD)
        client.sendmail(ALICE, [f"bob{number}@there.example"], text)


def rows(daemon: Daemon) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = daemon.call("queue.list", limit=100)["rows"]
    return found


def open_it(daemon: Daemon) -> dict[str, Any]:
    """Five messages fail one after the other, the sixth is not tried."""
    for number in range(6):
        submit(daemon, number)
        eventually("tried", lambda: all(row["last"] or row["reason"] for row in rows(daemon)))
    [breaker] = daemon.call("breaker.list")["breakers"]
    found: dict[str, Any] = breaker
    return found


def test_mail_for_a_dead_host_waits_without_a_try_and_an_operators_probe_finds_it_well(
    daemon: Daemon, port: int
) -> None:
    host = f"mx.there.example:{port}"
    breaker = open_it(daemon)
    assert (breaker["host"], breaker["state"], breaker["failures"]) == (host, "open", 5)
    [waiting] = [row for row in rows(daemon) if not row["attempts"]]
    why = daemon.call("queue.show", id=waiting["id"])["why"]
    assert why.startswith(f"Not tried for now: {host} is passed over since 5 connections in a row failed")
    with urllib.request.urlopen(f"http://127.0.0.1:{daemon.ports['metrics']}/metrics", timeout=20) as answer:
        told = answer.read().decode()
    assert f'mailserver_breaker_state{{host="{host}"}} 2.0' in told
    assert "mailserver_breaker_opened_total 1.0" in told

    daemon.stop()
    daemon.start()
    assert daemon.call("breaker.show", host=host)["state"] == "open"

    with remote(port) as server:
        daemon.call("breaker.reset", host=host)
        submit(daemon, 7)
        eventually("the new one arrives", lambda: server.messages)
    assert daemon.call("breaker.list")["breakers"] == []


def test_a_probe_by_hand_lets_one_message_go_at_once(daemon: Daemon, port: int) -> None:
    host = open_it(daemon)["host"]
    with remote(port) as server:
        assert "One message tries it now" in daemon.call("breaker.probe", host=host)["effect"]
        eventually("it arrives", lambda: server.messages)
        assert daemon.call("breaker.show", host=host)["state"] == "half-open"
        daemon.call("breaker.reset", host=host)
        eventually("all arrive", lambda: len(server.messages) == 6)
    eventually("the queue is empty", lambda: not rows(daemon))
