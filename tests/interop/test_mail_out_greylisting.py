"""A Postfix that greylists: what it puts off waits with its words, and goes at the next try."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.dns_thread import dns_in_thread
from tests.support.mail_peer import ALICE, free_port, gone, mail_peer, outgoing, retry, submit, waiting
from tests.support.postfix import needs_postfix

pytestmark = [pytest.mark.system, needs_postfix]
_THERE = "127.0.1.31"
_WORDS = "4.7.1 Greylisted, see https://greylisting.example/help, try again in 300 seconds"


class _PolicyServer(socketserver.ThreadingTCPServer):
    """Postfix's policy protocol: who was never seen is put off."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Questions)
        self.seen: set[tuple[str, str, str]] = set()


class _Questions(socketserver.StreamRequestHandler):
    server: _PolicyServer

    def handle(self) -> None:
        asked: dict[str, str] = {}
        for line in self.rfile:
            name, _, value = line.decode().rstrip("\n").partition("=")
            if name:
                asked[name] = value
                continue
            triplet = (asked["client_address"], asked["sender"], asked["recipient"])
            action = "DUNNO" if triplet in self.server.seen else f"DEFER {_WORDS}"
            self.server.seen.add(triplet)
            self.wfile.write(f"action={action}\n\n".encode())
            asked = {}


@contextmanager
def policy_server() -> Iterator[int]:
    with _PolicyServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join(5)


def test_what_is_greylisted_waits_and_goes_at_the_next_try(tmp_path: Path, public_folder: Path) -> None:
    port = free_port()
    with dns_in_thread() as dns, policy_server() as policy:
        dns.zone["there.example", "MX"] = ["10 mx.there.example."]
        dns.zone["mx.there.example", "A"] = [_THERE]
        settings = f"smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:{policy}\n"
        with mail_peer(public_folder, port, {_THERE: {}}, ["there.example"], settings) as peer:
            daemon = outgoing(tmp_path, dns.address, port)
            try:
                daemon.start()
                daemon.add_account(ALICE)
                submit(daemon, ["bob@there.example", "carl@there.example"], "grey")
                for name in ("bob", "carl"):
                    row = waiting(daemon, f"{name}@there.example")
                    assert row["code"] in (450, 451)
                    assert "Greylisted" in row["last"]
                    assert "Greylisted" in row["why"]
                    assert "mx.there.example" in row["why"]
                    assert row["attempts"] == 1
                assert daemon.call("breaker.list")["breakers"] == [], "it is no trouble of the host"
                assert peer.subjects("bob@there.example") == []
                retry(daemon, domain="there.example")
                for name in ("bob", "carl"):
                    peer.arrived(f"{name}@there.example", "grey")
                    row = gone(daemon, f"{name}@there.example")
                    assert (row["fate"], row["attempts"]) == ("delivered", 2)
                assert peer.subjects("bob@there.example") == ["grey"]
            finally:
                daemon.destroy()
