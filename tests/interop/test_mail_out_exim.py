"""An Exim as the other side: another TLS library (GnuTLS), DANE by real DNSSEC, logins, and a refused recipient."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.certificates import certify
from tests.support.daemon import Daemon
from tests.support.exim import Exim, exim, needs_exim
from tests.support.mail_peer import ALICE, free_port, gone, outgoing, submit, waiting, write_pair
from tests.support.signed_dns import needs_unbound, unbound

pytestmark = [pytest.mark.system, needs_exim, needs_unbound]
_PROVED, _WRONG, _RELAY = "127.0.1.91", "127.0.1.92", "127.0.1.93"
_PASSWORD = "a-secret-4711"


@dataclass
class Net:
    daemon: Daemon
    peer: Exim
    relay: Exim


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        for each in ("peer", "relay", "ours"):
            (folder / each).mkdir()
        authority = certify("Test CA", is_ca=True)
        (folder / "ca.pem").write_bytes(authority.pem())
        names = ["mx.proved.example", "mx.wrong.example", "relay.example"]
        server = certify("exim.example", authority, names=names)
        pair = write_pair(folder, "server", server)
        port, begun, wrapped = free_port(_PROVED), free_port(_RELAY), free_port(_RELAY)
        own = hashlib.sha256(server.public_key).hexdigest()
        records = {
            ("proved.example", "MX"): ["10 mx.proved.example."],
            ("mx.proved.example", "A"): [_PROVED],
            (f"_{port}._tcp.mx.proved.example", "TLSA"): [f"3 1 1 {own}"],
            ("wrong.example", "MX"): ["10 mx.wrong.example."],
            ("mx.wrong.example", "A"): [_PROVED],
            (f"_{port}._tcp.mx.wrong.example", "TLSA"): [f"3 1 1 {'11' * 32}"],
            ("relay.example", "A"): [_RELAY],
        }
        dns = stack.enter_context(unbound(folder / "dns", records))
        (folder / "password").write_text(f"{_PASSWORD}\n")
        (folder / "password").chmod(0o600)
        routes = '\n[routes]\nrules = ["to:@begun.example -> begun", "to:@wrapped.example -> wrapped"]\n'
        for way, tls, door in (("begun", "starttls", begun), ("wrapped", "tls", wrapped)):
            routes += f'[routes.via.{way}]\nhosts = ["relay.example:{door}"]\ntls = "{tls}"\nuser = "our-account"\n'
            routes += f'password_file = "{folder}/password"\n'
        daemon = outgoing(folder / "ours", dns, port, routes, delivery=f'ca_file = "{folder}/ca.pem"\n')
        stack.callback(daemon.destroy)
        daemon.start()
        daemon.add_account(ALICE)
        peer = exim(folder / "peer", _PROVED, port, ["proved.example", "wrong.example"], pair)
        relay = exim(
            folder / "relay",
            _RELAY,
            begun,
            ["begun.example", "wrapped.example"],
            pair,
            wrapped=wrapped,
            password=_PASSWORD,
        )
        yield Net(daemon, stack.enter_context(peer), stack.enter_context(relay))


def test_a_key_that_dns_vouches_for_is_proof(net: Net) -> None:
    submit(net.daemon, ["bob@proved.example"], "proved")
    assert b"TLS1.3" in net.peer.arrived("bob@proved.example", "proved")
    row = gone(net.daemon, "bob@proved.example")
    assert (row["fate"], row["tls"].endswith("(DANE)")) == ("delivered", True)


def test_another_key_gets_nothing(net: Net) -> None:
    submit(net.daemon, ["bob@wrong.example"], "wrong")
    words = "the certificate of mx.wrong.example is not the one its DNS vouches for"
    assert words in waiting(net.daemon, "bob@wrong.example")["why"]
    assert net.peer.messages("bob@wrong.example") == []
    assert "bob@wrong.example" not in net.peer.log


def test_a_refused_recipient_does_not_keep_the_other_from_its_mail(net: Net) -> None:
    submit(net.daemon, ["carl@proved.example", "nobody@proved.example"], "partly")
    net.peer.arrived("carl@proved.example", "partly")
    row = gone(net.daemon, "nobody@proved.example")
    assert (row["fate"], row["code"]) == ("failed", 550)
    assert "relay not permitted" in row["text"]


@pytest.mark.parametrize("way", ["begun", "wrapped"])
def test_a_login_over_both_kinds_of_tls(net: Net, way: str) -> None:
    submit(net.daemon, [f"bob@{way}.example"], way)
    arrived = net.relay.arrived(f"bob@{way}.example", way)
    assert b"esmtpsa" in arrived
    assert "A=plain:our-account" in net.relay.log
    assert gone(net.daemon, f"bob@{way}.example")["fate"] == "delivered"
