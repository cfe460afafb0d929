"""DANE against a real Postfix, proved by a real validating resolver: what is delivered, what waits, and what each side says."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.certificates import certify
from tests.support.daemon import Daemon, eventually
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
from tests.support.signed_dns import needs_unbound, unbound

pytestmark = [pytest.mark.system, needs_postfix, needs_unbound]
_SAFE, _CLEAR = "127.0.1.11", "127.0.1.12"
_DOMAINS = ("key", "authority", "wrong", "unusable", "forged", "plain")


@dataclass
class Net:
    daemon: Daemon
    peer: Peer
    records: dict[tuple[str, str], list[str]]


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    """Domains named after what their TLSA records say."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        port = free_port()
        authority = certify("Test CA", is_ca=True)
        server = certify("mx.key.example", authority, names=[f"mx.{each}.example" for each in _DOMAINS])
        (folder / "peer").mkdir()
        chain, key = write_pair(folder, "server", server)
        own = hashlib.sha256(server.public_key).hexdigest()
        above = hashlib.sha256(authority.public_key).hexdigest()
        records: dict[tuple[str, str], list[str]] = {}
        said = {
            "key": f"3 1 1 {own}",
            "authority": f"2 1 1 {above}",
            "wrong": f"3 1 1 {'00' * 32}",
            "unusable": f"1 1 1 {own}",
            "forged": f"3 1 1 {own}",
            "plain": f"3 1 1 {own}",
        }
        for each in _DOMAINS:
            records[f"{each}.example", "MX"] = [f"10 mx.{each}.example."]
            records[f"mx.{each}.example", "A"] = [_CLEAR if each == "plain" else _SAFE]
            if each in said:
                records[f"_{port}._tcp.mx.{each}.example", "TLSA"] = [said[each]]
        listeners = {_SAFE: encrypting(chain, key), _CLEAR: {}}
        domains = [f"{each}.example" for each in _DOMAINS]
        (folder / "ours").mkdir()
        with (
            mail_peer(folder / "peer", port, listeners, domains, "smtpd_tls_loglevel = 1\n") as peer,
            unbound(folder / "dns", records, forged=[(f"_{port}._tcp.mx.forged.example", "TLSA")]) as dns,
        ):
            daemon = outgoing(folder / "ours", dns, port)
            try:
                daemon.start()
                daemon.add_account(ALICE)
                eventually("DNSSEC is looked at", lambda: daemon.events("outbound.dane"))
                yield Net(daemon, peer, records)
            finally:
                daemon.destroy()


@pytest.mark.parametrize("domain", ["key", "authority"])
def test_a_key_that_dns_vouches_for_is_proof(net: Net, domain: str) -> None:
    bob = f"bob@{domain}.example"
    submit(net.daemon, [bob], f"to {domain}")
    assert b"TLS" in net.peer.arrived(bob, f"to {domain}")
    row = gone(net.daemon, bob)
    assert (row["fate"], row["tls"].endswith("(DANE)")) == ("delivered", True)
    policy = net.daemon.call("tls.policy", domain=f"{domain}.example")
    assert "DANE" in str(policy)


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        ("wrong", "the certificate of mx.wrong.example is not the one its DNS vouches for"),
        ("forged", "the TLSA records of mx.forged.example cannot be looked up safely, so it is not used now"),
        ("plain", "mx.plain.example offers no encryption, which DANE of mx.plain.example asks for"),
    ],
)
def test_what_is_not_proved_waits_and_says_why(net: Net, domain: str, words: str) -> None:
    bob = f"bob@{domain}.example"
    submit(net.daemon, [bob], f"to {domain}")
    row = waiting(net.daemon, bob)
    assert words in row["last"]
    assert words in row["why"]
    assert words in shown(net.daemon, row["id"])
    assert row["code"] // 100 == 4
    assert net.peer.messages(bob) == []
    assert bob not in net.peer.log, "not even the envelope was told"


def test_records_that_cannot_be_used_mean_encryption_whoever_signed(net: Net) -> None:
    bob = "bob@unusable.example"
    submit(net.daemon, [bob], "unusable")
    assert b"with ESMTPS" in net.peer.arrived(bob, "unusable")
    row = gone(net.daemon, bob)
    assert row["tls"].startswith("TLSv1.3")
    assert "DANE" not in row["tls"]


def test_the_log_says_that_dane_is_used(net: Net) -> None:
    [event] = net.daemon.events("outbound.dane")
    assert event["text"] == "DANE is used: the DNS resolver validates answers (DNSSEC)."


def test_without_a_validating_resolver_dane_is_not_used_and_one_line_says_so(net: Net, tmp_path: Path) -> None:
    port = net.daemon.config.read_text().rpartition("port = ")[2].split()[0]
    (tmp_path / "ours").mkdir()
    with unbound(tmp_path / "dns", net.records, validating=False) as dns:
        daemon = outgoing(tmp_path / "ours", dns, int(port))
        try:
            daemon.start()
            daemon.add_account(ALICE)
            [event] = eventually("DNSSEC is looked at", lambda: daemon.events("outbound.dane"))
            assert event["text"].startswith("DANE is not used: the DNS resolver does not validate answers")
            submit(daemon, ["carl@wrong.example"], "unproved")
            net.peer.arrived("carl@wrong.example", "unproved")
            row = gone(daemon, "carl@wrong.example")
            assert row["tls"].startswith("TLSv1.3")
            assert "DANE" not in row["tls"]
        finally:
            daemon.destroy()
    assert len(daemon.events("outbound.dane")) == 1
