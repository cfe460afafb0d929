"""Routes with a login: a Postfix that takes mail only from who is known to its Dovecot, by STARTTLS and by TLS from the start."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.certificates import certify
from tests.support.daemon import Daemon
from tests.support.dns_thread import dns_in_thread
from tests.support.dovecot_logins import dovecot_logins, needs_dovecot
from tests.support.mail_peer import (
    ALICE,
    Peer,
    encrypting,
    free_port,
    gone,
    mail_peer,
    outgoing,
    retry,
    shown,
    submit,
    waiting,
    write_pair,
)
from tests.support.postfix import needs_postfix

pytestmark = [pytest.mark.system, needs_postfix, needs_dovecot]
_RELAY, _DIRECT = "127.0.1.41", "127.0.1.42"
_RIGHT, _WRONG = "the right one 4711", "quite a wrong one 0815"
_DOMAINS = ("begun", "within", "refused", "direct", "misnamed", "corrected")


@dataclass
class Net:
    daemon: Daemon
    peer: Peer
    passwords: Path


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    """Each domain has its route; `direct` has none."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for each in ("peer", "ours"):
            (folder / each).mkdir()
        authority = certify("Test CA", is_ca=True)
        (folder / "ca.pem").write_bytes(authority.pem())
        pair = write_pair(folder, "relay", certify("relay.example", authority))
        for each, password in (("right", _RIGHT), ("wrong", _WRONG), ("corrected", _WRONG)):
            (folder / each).write_text(f"{password}\n")
            (folder / each).chmod(0o600)
        started, wrapped = free_port(_RELAY), free_port(_RELAY)
        with (
            dns_in_thread() as dns,
            dovecot_logins(folder / "dovecot", {"our-account": _RIGHT}, "plain login scram-sha-256") as sasl,
        ):
            dns.zone["relay.example", "A"] = dns.zone["another.example", "A"] = [_RELAY]
            dns.zone["direct.example", "MX"] = ["10 mx.direct.example."]
            dns.zone["mx.direct.example", "A"] = [_DIRECT]
            own = {
                **encrypting(*pair),
                "smtpd_sasl_auth_enable": "yes",
                "smtpd_sasl_type": "dovecot",
                "smtpd_sasl_path": str(sasl),
                "smtpd_tls_auth_only": "yes",
                "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
            }
            port = free_port(_DIRECT)
            services = _door(f"{_RELAY}:{started}", {**own, "smtpd_tls_security_level": "encrypt"})
            services += _door(f"{_RELAY}:{wrapped}", {**own, "smtpd_tls_wrappermode": "yes"})
            domains = [f"{each}.example" for each in _DOMAINS]
            settings = "smtpd_sasl_authenticated_header = yes\n"
            with mail_peer(folder / "peer", port, {_DIRECT: {}}, domains, settings, services) as peer:
                routes = _routes(folder, started, wrapped)
                keys = f'ca_file = "{folder}/ca.pem"\n'
                daemon = outgoing(folder / "ours", dns.address, port, routes, delivery=keys)
                try:
                    daemon.start()
                    daemon.add_account(ALICE)
                    yield Net(daemon, peer, folder)
                finally:
                    daemon.destroy()


def _door(place: str, own: dict[str, str]) -> str:
    return f"{place} inet n - n - - smtpd\n" + "".join(f"  -o {{ {name} = {value} }}\n" for name, value in own.items())


def _routes(folder: Path, started: int, wrapped: int) -> str:
    ways = {
        "begun": (f"relay.example:{started}", "starttls", "right"),
        "within": (f"relay.example:{wrapped}", "tls", "right"),
        "refused": (f"relay.example:{started}", "starttls", "wrong"),
        "misnamed": (f"another.example:{started}", "starttls", "right"),
        "corrected": (f"relay.example:{wrapped}", "tls", "corrected"),
    }
    rules = ", ".join(f'"to:@{name}.example -> {name}"' for name in ways)
    text = f"\n[routes]\nrules = [{rules}]\n"
    for name, (host, tls, password) in ways.items():
        text += f'[routes.via.{name}]\nhosts = ["{host}"]\ntls = "{tls}"\nuser = "our-account"\n'
        text += f'password_file = "{folder}/{password}"\n'
    return text


@pytest.mark.parametrize("way", ["begun", "within"])
def test_a_route_logs_in_and_the_relay_knows_who_sent(net: Net, way: str) -> None:
    submit(net.daemon, [f"bob@{way}.example"], way)
    arrived = net.peer.arrived(f"bob@{way}.example", way)
    assert b"(Authenticated sender: our-account)" in arrived
    assert b"with ESMTPSA" in arrived
    assert "sasl_method=SCRAM-SHA-256, sasl_username=our-account" in net.peer.log
    row = gone(net.daemon, f"bob@{way}.example")
    assert (row["fate"], row["host"]) == ("delivered", f"relay.example [{_RELAY}]")
    assert row["tls"].startswith("TLSv1.3")


def test_a_refused_login_waits_with_a_sentence_and_no_secret_is_told_anywhere(net: Net) -> None:
    submit(net.daemon, ["bob@refused.example"], "refused")
    row = waiting(net.daemon, "bob@refused.example")
    assert row["code"] // 100 == 4
    words = "relay.example does not take the login of the route refused (user our-account): 535"
    assert words in row["why"]
    told = shown(net.daemon, row["id"])
    assert words in told
    routes = {each["name"]: each for each in net.daemon.call("route.list")["routes"]}
    told += str(routes) + net.daemon.log_path.read_text()
    for password in (_WRONG, _RIGHT):
        for secret in (password, base64.b64encode(password.encode()).decode().rstrip("=")):
            assert secret not in told
        assert base64.b64encode(f"\0our-account\0{password}".encode()).decode() not in told
    assert net.peer.messages("bob@refused.example") == []


def test_a_relay_whose_certificate_is_for_another_name_gets_no_password(net: Net) -> None:
    submit(net.daemon, ["bob@misnamed.example"], "misnamed")
    row = waiting(net.daemon, "bob@misnamed.example")
    assert "the route misnamed" in row["why"]
    assert "another.example" in row["why"]
    assert net.peer.messages("bob@misnamed.example") == []


def test_a_domain_without_a_route_goes_to_its_own_host(net: Net) -> None:
    submit(net.daemon, ["bob@direct.example"], "direct")
    assert b"Authenticated sender" not in net.peer.arrived("bob@direct.example", "direct")
    assert gone(net.daemon, "bob@direct.example")["host"].startswith("mx.direct.example")


def test_a_corrected_password_holds_without_a_restart(net: Net) -> None:
    submit(net.daemon, ["bob@corrected.example"], "corrected")
    waiting(net.daemon, "bob@corrected.example")
    (net.passwords / "corrected").write_text(f"{_RIGHT}\n")
    trial = net.daemon.call("route.test", name="corrected")
    assert trial["ok"] is True
    assert "SCRAM-SHA-256" in str(trial["steps"])
    retry(net.daemon, domain="corrected.example")
    net.peer.arrived("bob@corrected.example", "corrected")
    assert gone(net.daemon, "bob@corrected.example")["attempts"] == 2
