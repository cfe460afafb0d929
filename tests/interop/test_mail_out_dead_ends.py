"""Where mail cannot go, and where only one of two ways is alive: null MX, no address, ourselves, IPv6 that leads nowhere."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.dns_thread import dns_in_thread
from tests.support.mail_peer import ALICE, Peer, free_port, gone, mail_peer, outgoing, report_on, submit, waiting
from tests.support.postfix import needs_postfix

pytestmark = [pytest.mark.system, needs_postfix]
_ALIVE, _DEAD = "127.0.1.61", "127.0.1.62"
_NOBODY_THERE = "2001:db8::25"
"""For documentation: no route leads there, or nobody answers."""


@dataclass
class Net:
    daemon: Daemon
    peer: Peer


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        for each in ("peer", "ours"):
            (folder / each).mkdir()
        dns = stack.enter_context(dns_in_thread())
        port = free_port()
        dns.zone["null.example", "MX"] = ["0 ."]
        dns.zone["empty.example", "TXT"] = ["nothing else"]
        dns.zone["vague.example", "MX"] = ["10 mx.vague.example."]
        dns.zone["mx.vague.example", "TXT"] = ["nothing else"]
        dns.zone["ours.example", "MX"] = ["10 mail.example.org.", "20 mx.ours.example."]
        dns.zone["mx.ours.example", "A"] = [_ALIVE]
        for each, six in (("six", _NOBODY_THERE), ("closed", "::1")):
            dns.zone[f"{each}.example", "MX"] = [f"10 mx.{each}.example."]
            dns.zone[f"mx.{each}.example", "AAAA"] = [six]
            dns.zone[f"mx.{each}.example", "A"] = [_ALIVE]
        dns.zone["second.example", "MX"] = ["10 mx1.second.example.", "20 mx2.second.example."]
        dns.zone["mx1.second.example", "A"] = [_DEAD]
        dns.zone["mx2.second.example", "A"] = [_ALIVE]
        dns.zone["bare.example", "A"] = [_ALIVE]
        daemon = outgoing(folder / "ours", dns.address, port, delivery='family = "prefer6"')
        stack.callback(daemon.destroy)
        daemon.start()
        daemon.add_account(ALICE)
        domains = ["ours.example", "six.example", "closed.example", "second.example", "bare.example"]
        yield Net(daemon, stack.enter_context(mail_peer(folder / "peer", port, {_ALIVE: {}}, domains)))


@pytest.mark.parametrize(
    ("domain", "code", "enhanced", "words"),
    [
        ("null.example", 556, "5.1.10", b"does not accept mail"),
        ("missing.example", 550, "5.1.2", b"does not exist"),
        ("empty.example", 550, "5.4.4", b"has no address"),
        ("vague.example", 550, "5.4.4", b"mx.vague.example has no address"),
        ("ours.example", 554, "5.4.6", b"loops back to this server"),
    ],
)
def test_what_can_never_arrive_is_told_at_once(net: Net, domain: str, code: int, enhanced: str, words: bytes) -> None:
    bob = f"bob@{domain}"
    submit(net.daemon, [bob], f"to {domain}")
    row = gone(net.daemon, bob)
    assert (row["code"], row["enhanced"], row["attempts"]) == (code, enhanced, 1)
    report = report_on(net.daemon, bob)
    assert f"Status: {enhanced}".encode() in report
    assert words in report.replace(b"\r\n ", b" ")
    assert net.peer.messages(bob) == []


@pytest.mark.parametrize("domain", ["six.example", "closed.example", "second.example", "bare.example"])
def test_a_dead_way_beside_one_that_is_alive_costs_no_further_attempt(net: Net, domain: str) -> None:
    submit(net.daemon, [f"bob@{domain}"], f"to {domain}")
    net.peer.arrived(f"bob@{domain}", f"to {domain}")  # within seconds, without a wait for the next try
    row = gone(net.daemon, f"bob@{domain}")
    assert (row["fate"], row["attempts"]) == ("delivered", 1)
    assert row["host"].endswith(f"[{_ALIVE}]")


def test_a_host_that_is_down_waits_and_says_so(tmp_path: Path) -> None:
    with dns_in_thread() as dns:
        dns.zone["down.example", "MX"] = ["10 mx.down.example."]
        dns.zone["mx.down.example", "A"] = [_DEAD]
        dns.zone["mx.down.example", "AAAA"] = [_NOBODY_THERE]
        daemon = outgoing(tmp_path, dns.address, free_port(_DEAD))
        try:
            daemon.start()
            daemon.add_account(ALICE)
            submit(daemon, ["bob@down.example"], "down")
            row = waiting(daemon, "bob@down.example")
            assert "mx.down.example" in row["why"]
            assert row["attempts"] == 1
        finally:
            daemon.destroy()
