"""MTA-STS with a real web server and a real Postfix: enforced, watched, unreachable, and kept over a restart."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.certificates import certify
from tests.support.daemon import Daemon
from tests.support.dns import FakeDnsServer
from tests.support.dns_thread import dns_in_thread
from tests.support.mail_peer import (
    ALICE,
    Peer,
    encrypting,
    free_port,
    gone,
    mail_peer,
    outgoing,
    shown,
    submit,
    waiting,
    write_pair,
)
from tests.support.postfix import needs_postfix
from tests.support.sts_server import StsServer, policy, sts_server

pytestmark = [pytest.mark.system, needs_postfix]
_GOOD, _OTHER, _UNKNOWN, _CLEAR = "127.0.1.21", "127.0.1.22", "127.0.1.23", "127.0.1.24"
_WEB, _NOBODY = "127.0.1.25", "127.0.1.26"
_HOSTS = {
    "enforce": _GOOD,
    "misnamed": _OTHER,
    "unknown": _UNKNOWN,
    "clear": _CLEAR,
    "unlisted": _GOOD,
    "testing": _OTHER,
    "unreachable": _OTHER,
    "kept": _GOOD,
}


@dataclass
class Net:
    daemon: Daemon
    peer: Peer
    dns: FakeDnsServer
    web: StsServer


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    """Domains named after what is special about them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for each in ("peer", "ours", "web"):
            (folder / each).mkdir()
        authority = certify("Test CA", is_ca=True)
        (folder / "ca.pem").write_bytes(authority.pem())
        names = [f"mx.{each}.example" for each in _HOSTS]
        good = write_pair(folder, "good", certify("mx", authority, names=names))
        other = write_pair(folder, "other", certify("mx", authority, names=["mx.elsewhere.example"]))
        unknown = write_pair(folder, "unknown", certify("mx", names=names))
        listeners = {_GOOD: encrypting(*good), _OTHER: encrypting(*other), _UNKNOWN: encrypting(*unknown), _CLEAR: {}}
        web = certify("web", authority, names=[f"mta-sts.{each}.example" for each in _HOSTS])
        port = free_port()
        domains = [f"{each}.example" for each in _HOSTS]
        with (
            dns_in_thread() as dns,
            sts_server(folder / "web", _WEB, web) as server,
            mail_peer(folder / "peer", port, listeners, domains) as peer,
        ):
            for each, address in _HOSTS.items():
                dns.zone[f"{each}.example", "MX"] = [f"10 mx.{each}.example."]
                dns.zone[f"mx.{each}.example", "A"] = [address]
                dns.zone[f"_mta-sts.{each}.example", "TXT"] = ["v=STSv1; id=1;"]
                dns.zone[f"mta-sts.{each}.example", "A"] = [_NOBODY if each == "unreachable" else _WEB]
                mode = "testing" if each == "testing" else "enforce"
                listed = "mx.elsewhere.example" if each == "unlisted" else f"mx.{each}.example"
                server.policies[f"{each}.example"] = policy(mode, listed)
            keys = f'mta_sts_port = {server.port}\nca_file = "{folder}/ca.pem"\n'
            daemon = outgoing(folder / "ours", dns.address, port, delivery=keys)
            try:
                daemon.start()
                daemon.add_account(ALICE)
                yield Net(daemon, peer, dns, server)
            finally:
                daemon.destroy()


def test_a_valid_certificate_of_a_listed_host_is_proof(net: Net) -> None:
    submit(net.daemon, ["bob@enforce.example"], "enforced")
    assert b"with ESMTPS" in net.peer.arrived("bob@enforce.example", "enforced")
    row = gone(net.daemon, "bob@enforce.example")
    assert row["fate"] == "delivered"
    assert "MTA-STS" in row["tls"]
    sts = net.daemon.call("tls.policy", domain="enforce.example")["sts"]
    assert (sts["mode"], sts["hosts"]) == ("enforce", ["mx.enforce.example"])


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        ("misnamed", "MTA-STS of misnamed.example (enforce)"),
        ("unknown", "MTA-STS of unknown.example (enforce)"),
        ("clear", "mx.clear.example offers no encryption, which MTA-STS of clear.example (enforce) asks for"),
        (
            "unlisted",
            "MTA-STS of unlisted.example (enforce) names other hosts than mx.unlisted.example, so it gets no mail",
        ),
    ],
)
def test_what_an_enforced_policy_does_not_allow_waits_and_says_why(net: Net, domain: str, words: str) -> None:
    bob = f"bob@{domain}.example"
    submit(net.daemon, [bob], domain)
    row = waiting(net.daemon, bob)
    assert words in row["last"]
    assert words in row["why"]
    assert words in shown(net.daemon, row["id"])
    assert row["code"] // 100 == 4
    assert bob not in net.peer.log, "not even the envelope was told"


def test_testing_delivers_and_writes_down_what_would_have_failed(net: Net) -> None:
    submit(net.daemon, ["bob@testing.example"], "watched")
    assert b"with ESMTPS" in net.peer.arrived("bob@testing.example", "watched")
    assert gone(net.daemon, "bob@testing.example")["fate"] == "delivered"
    [event] = [each for each in net.daemon.events("outbound.tls_failed") if each["domain"] == "testing.example"]
    assert (event["level"], event["policy"], event["host"]) == ("info", "sts", "mx.testing.example")
    assert "testing" in event["reason"]


def test_a_policy_that_cannot_be_fetched_holds_nothing_up_and_is_told(net: Net) -> None:
    submit(net.daemon, ["bob@unreachable.example"], "unreachable")
    net.peer.arrived("bob@unreachable.example", "unreachable")
    gone(net.daemon, "bob@unreachable.example")
    [event] = [each for each in net.daemon.events("outbound.tls_failed") if each["domain"] == "unreachable.example"]
    assert (event["result"], event["level"]) == ("sts-policy-fetch-error", "info")
    found = net.daemon.call("tls.policy", domain="unreachable.example")
    assert found["sts"] is None
    assert "mta-sts.unreachable.example" in found["sts_trouble"]


def test_a_policy_once_fetched_holds_without_its_web_server_and_over_a_restart(net: Net) -> None:
    """Somebody who rules DNS later takes the policy away and leads mail to a host of his own."""
    submit(net.daemon, ["bob@kept.example"], "before")
    net.peer.arrived("bob@kept.example", "before")
    gone(net.daemon, "bob@kept.example")
    del net.dns.zone["_mta-sts.kept.example", "TXT"]
    net.dns.zone["mta-sts.kept.example", "A"] = [_NOBODY]
    net.dns.zone["kept.example", "MX"] = ["10 mx.evil.example."]
    net.dns.zone["mx.evil.example", "A"] = [_GOOD]
    net.daemon.stop()
    net.daemon.start()
    submit(net.daemon, ["carl@kept.example"], "after")
    row = waiting(net.daemon, "carl@kept.example")
    assert "MTA-STS of kept.example (enforce) names other hosts than mx.evil.example" in row["why"]
    assert net.peer.messages("carl@kept.example") == []


def test_each_policy_is_fetched_once(net: Net) -> None:
    for number in range(2):
        submit(net.daemon, ["carl@enforce.example"], f"number {number}")
        net.peer.arrived("carl@enforce.example", f"number {number}")
    assert net.web.asked.count("mta-sts.enforce.example") == 1
