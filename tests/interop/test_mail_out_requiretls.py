"""REQUIRETLS from end to end with a second server of ours, refused for a Postfix that does not promise it; `TLS-Required: No`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.certificates import certify
from tests.support.daemon import Daemon, eventually
from tests.support.dns_thread import dns_in_thread
from tests.support.mail_peer import (
    ALICE,
    Peer,
    encrypting,
    free_port,
    gone,
    mail_peer,
    outgoing,
    report_on,
    submit,
    waiting,
    write_pair,
)
from tests.support.postfix import needs_postfix
from tests.support.sts_server import policy, sts_server

pytestmark = [pytest.mark.system, needs_postfix]
_OURS, _POSTFIX, _MISNAMED, _WEB, _BACK = (f"127.0.1.{number}" for number in range(71, 76))
_PROVED = {"promising": _OURS, "silent": _POSTFIX, "misnamed": _MISNAMED}
DAVE = "dave@promising.example"


@dataclass
class Net:
    daemon: Daemon
    other: Daemon
    peer: Peer


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    """All domains but `unproved` have an enforced MTA-STS policy, so their hosts' names are proved."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        for each in ("peer", "ours", "other", "web"):
            (folder / each).mkdir()
        authority = certify("Test CA", is_ca=True)
        (folder / "ca.pem").write_bytes(authority.pem())
        names = [f"mx.{each}.example" for each in (*_PROVED, "unproved")]
        pair = write_pair(folder, "good", certify("mx", authority, names=names))
        misnamed = write_pair(folder, "misnamed", certify("mx", authority, names=["mx.elsewhere.example"]))
        port = free_port(_OURS)
        dns = stack.enter_context(dns_in_thread())
        web = certify("web", authority, names=[f"mta-sts.{each}.example" for each in _PROVED])
        server = stack.enter_context(sts_server(folder / "web", _WEB, web))
        for each, address in (*_PROVED.items(), ("unproved", _POSTFIX)):
            dns.zone[f"{each}.example", "MX"] = [f"10 mx.{each}.example."]
            dns.zone[f"mx.{each}.example", "A"] = [address]
        for each in _PROVED:
            dns.zone[f"_mta-sts.{each}.example", "TXT"] = ["v=STSv1; id=1;"]
            dns.zone[f"mta-sts.{each}.example", "A"] = [_WEB]
            server.policies[f"{each}.example"] = policy("enforce", f"mx.{each}.example")
        listeners = {_POSTFIX: encrypting(*pair), _MISNAMED: encrypting(*misnamed)}
        domains = ["silent.example", "misnamed.example", "unproved.example"]
        peer = stack.enter_context(mail_peer(folder / "peer", port, listeners, domains))
        dns.zone["example.org", "MX"] = ["10 mail.example.org."]
        dns.zone["mail.example.org", "A"] = [_BACK]
        tls = f'[tls]\ncert_file = "{pair[0]}"\nkey_file = "{pair[1]}"\n'
        keys = f'mta_sts_port = {server.port}\nca_file = "{folder}/ca.pem"\n'
        other = outgoing(folder / "other", dns.address, port, delivery=keys, hostname="mx.promising.example")
        other.config.write_text(other.config.read_text().replace("[tls]\n", tls))
        daemon = outgoing(folder / "ours", dns.address, port, delivery=keys)
        for each, address in ((other, _OURS), (daemon, _BACK)):
            each.config.write_text(
                each.config.read_text().replace('smtp = ["127.0.0.1:0"]', f'smtp = ["{address}:{port}"]')
            )
        for each in (other, daemon):
            stack.callback(each.destroy)
            each.start()
        other.add_account(DAVE)
        daemon.add_account(ALICE)
        yield Net(daemon, other, peer)


def test_a_safe_way_is_used_and_the_promise_is_passed_on(net: Net) -> None:
    submit(net.daemon, [DAVE], "safe", mail_options=["REQUIRETLS"])
    eventually("it arrives", lambda: b"Subject: safe" in b"".join(net.other.messages(DAVE)))
    row = gone(net.daemon, DAVE)
    assert row["fate"] == "delivered"
    assert "TLSv1.3" in row["tls"]
    assert "REQUIRETLS" in row["tls"] or "MTA-STS" in row["tls"]


def test_the_second_server_keeps_the_promise_and_reports(net: Net) -> None:
    """It passes mail for this address on to who does not promise it."""
    net.other.call("alias.add", address="onward@promising.example", targets=["carl@silent.example"])
    submit(net.daemon, ["onward@promising.example"], "onward", mail_options=["REQUIRETLS"])
    assert gone(net.daemon, "onward@promising.example")["fate"] == "delivered"
    assert gone(net.other, "carl@silent.example")["enhanced"] == "5.7.30"
    report = report_on(net.daemon, "onward@promising.example")
    assert b"Reporting-MTA: dns; mx.promising.example" in report
    assert b"does not promise encryption" in report
    assert b"\r\nhello\r\n" not in report
    assert net.peer.messages("carl@silent.example") == []


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        ("silent", b"mx.silent.example does not promise encryption on the rest of the way (REQUIRETLS)"),
        ("unproved", b"and the sender asks for an encrypted way or none"),
    ],
)
def test_without_a_safe_way_the_sender_hears_and_nobody_else(net: Net, domain: str, words: bytes) -> None:
    bob = f"bob@{domain}.example"
    submit(net.daemon, [bob], domain, mail_options=["REQUIRETLS"])
    row = gone(net.daemon, bob)
    assert (row["fate"], row["enhanced"]) == ("failed", "5.7.30")
    report = report_on(net.daemon, bob)
    assert b"Status: 5.7.30" in report
    assert words in report.replace(b"\r\n ", b" ")
    assert b"\r\nhello\r\n" not in report, "what must stay encrypted does not come back whole"
    assert net.peer.messages(bob) == []
    assert bob not in net.peer.log


def test_who_says_that_encryption_does_not_matter_is_not_held_up(net: Net) -> None:
    submit(net.daemon, ["bob@misnamed.example"], "strict")
    assert "MTA-STS of misnamed.example" in waiting(net.daemon, "bob@misnamed.example")["why"]
    submit(net.daemon, ["carl@misnamed.example"], "whatever", header="TLS-Required: No\r\n")
    assert b"TLS-Required: No" in net.peer.arrived("carl@misnamed.example", "whatever")
    assert gone(net.daemon, "carl@misnamed.example")["fate"] == "delivered"
    assert net.peer.messages("bob@misnamed.example") == []
