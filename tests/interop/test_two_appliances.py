"""Two servers that find each other by MX over DNS."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.demo.appliance import Appliance
from mailbox_app.demo.dns_server import DnsServer

PASSWORD = "correct horse battery"
pytestmark = [pytest.mark.system, pytest.mark.xdist_group("interop")]


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = DnsServer({})
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(5)
    yield server
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)


def appliance(folder: Path, name: str, address: str, port: int, dns: DnsServer) -> Appliance:
    folder.mkdir()
    server = Appliance(folder, dns.address, port, hostname=f"mail.{name}")
    server.config.write_text(
        server.config.read_text().replace('smtp = ["127.0.0.1:0"]', f'smtp = ["{address}:{port}"]')
    )
    dns.zone[(name, "MX")] = [f"10 mail.{name}."]
    dns.zone[(f"mail.{name}", "A")] = [address]
    server.start()
    server.command("domain", "add", name)
    server.command("user", "add", f"alice@{name}", "--password-file", "-", stdin=PASSWORD + "\n")
    return server


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def subjects(server: Appliance, address: str) -> list[bytes]:
    client = server.mailbox(address, PASSWORD)
    try:
        _, found = client.search(None, "ALL")
        return [client.fetch(number, "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][0][1] for number in found[0].split()]
    finally:
        client.logout()


def test_they_exchange_mail_both_ways(tmp_path: Path, dns: DnsServer) -> None:
    port = free_port()
    north = appliance(tmp_path / "north", "north.example", "127.0.0.11", port, dns)
    south = appliance(tmp_path / "south", "south.example", "127.0.0.12", port, dns)
    try:
        for source, target in ((north, "south.example"), (south, "north.example")):
            sender = "alice@north.example" if source is north else "alice@south.example"
            message = f"From: {sender}\r\nTo: alice@{target}\r\nSubject: hello {target}\r\n\r\nx\r\n"
            source.submit(sender, PASSWORD, [f"alice@{target}"], message)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if subjects(south, "alice@south.example") and subjects(north, "alice@north.example"):
                break
        assert b"hello south.example" in subjects(south, "alice@south.example")[0]
        assert b"hello north.example" in subjects(north, "alice@north.example")[0]
    finally:
        north.stop()
        south.stop()
