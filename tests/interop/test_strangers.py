"""Mail from strangers by real programs: swaks in clear, with STARTTLS and behind a proxy, and Postfix. `trace` explains each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailbox_app.demo.appliance import PROXY_ADDRESS, Appliance
from tests.support.daemon import eventually
from tests.support.dns_thread import dns_in_thread
from tests.support.postfix import needs_postfix, postfix
from tests.support.programs import Person, needs, run

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("interop")]
HONEST, SHADY = "203.0.113.25", "203.0.113.99"
ZONE = {
    ("friend.example", "TXT"): [f"v=spf1 ip4:{HONEST} -all"],
    ("friend.example", "MX"): ["10 mail.friend.example."],
    ("mail.friend.example", "A"): [HONEST],
    ("25.113.0.203.in-addr.arpa", "PTR"): ["mail.friend.example."],
    ("_dmarc.friend.example", "TXT"): ["v=DMARC1; p=reject"],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with dns_in_thread() as dns:
        dns.zone.update(ZONE)
        made = Appliance(tmp_path_factory.mktemp("strangers"), dns.address, 25, "localhost", proxied=True)
        made.start()
        try:
            made.command("domain", "add", "example.org")
            yield made
        finally:
            made.abandon()


@pytest.fixture
def person(server: Appliance) -> Person:
    """A fresh account."""
    return Person(server)


def swaks(person: Person, remote_ip: str, *options: object, codes: tuple[int, ...] = (0,)) -> str:
    """A message for the person out of the address that the proxy's header, version 1, tells."""
    header = ("--proxy", f"TCP4 {remote_ip} 127.0.0.1 40000 25")
    return by_proxy(person, *header, *options, codes=codes)


def by_proxy(person: Person, *options: object, codes: tuple[int, ...] = (0,)) -> str:
    where = ("--server", f"127.0.0.1:{person.server.ports['smtp']}", "--local-interface", PROXY_ADDRESS)
    return run("swaks", *where, "--to", person.address, *options, codes=codes)


def explained(person: Person, outcome: str) -> dict[str, Any]:
    """The newest record about the person's mail with this outcome, whole."""
    rows = eventually(
        "the record", lambda: person.server.query("trace", "--address", person.address, "--outcome", outcome)["rows"]
    )
    shown = person.server.query("trace", rows[0]["trace_id"] or rows[0]["session_id"])
    return next(each for each in shown["decisions"] if each["outcome"] == outcome)


@needs("swaks")
def test_a_shady_stranger_waits_until_let_in(person: Person) -> None:
    shady = ("--ehlo", "cable.unknown.example", "--from", "x@unknown.example", "--header", "Subject: offer")
    assert "451 4.7.1 Greylisted" in swaks(person, SHADY, *shady, codes=(24,))
    why = explained(person, "deferred")
    assert (why["remote"], why["sender"]) == (SHADY, "x@unknown.example")
    assert "asked to come back" in str(why["findings"])
    (row,) = [
        each for each in person.server.query("greylist", "list")["waiting"] if each["recipient"] == person.address
    ]
    person.server.command("greylist", "allow", "--now", str(row["greylist_id"]))
    swaks(person, SHADY, *shady)
    (copy,) = explained(person, "accepted")["copies"]
    assert (copy["action"], copy["target"]) == ("stored", "INBOX")
    assert set(person.messages()) == {"offer"}


@needs("swaks")
def test_an_honest_stranger_passes_at_once_by_starttls_and_proxy_version_2(person: Person) -> None:
    header = (
        "--proxy-version",
        2,
        "--proxy-command",
        "PROXY",
        "--proxy-family",
        "AF_INET",
        "--proxy-protocol",
        "STREAM",
    )
    ends = (
        "--proxy-source",
        HONEST,
        "--proxy-source-port",
        40000,
        "--proxy-dest",
        "127.0.0.1",
        "--proxy-dest-port",
        25,
    )
    honest = ("--ehlo", "mail.friend.example", "--from", "bob@friend.example", "--tls", "--header", "Subject: hello")
    by_proxy(person, *header, *ends, *honest)
    why = explained(person, "accepted")
    assert (why["remote"], why["remote_name"]) == (HONEST, "mail.friend.example")
    assert "spf=pass" in why["authentication"]
    assert "dmarc=pass" in why["authentication"]
    assert why["tls"].startswith("TLSv1.3")
    assert set(person.messages()) == {"hello"}


@needs("swaks")
def test_a_forged_message_is_refused_with_its_reason(person: Person) -> None:
    person.server.command("greylist", "allow", person.address, "--recipient")
    forged = ("--ehlo", "cable.unknown.example", "--from", "x@unknown.example", "--header", "From: bob@friend.example")
    said = swaks(person, SHADY, *forged, codes=(26,))
    assert "550 5.7.1 friend.example asks to refuse mail that fails its DMARC policy" in said
    why = explained(person, "refused")
    assert "dmarc=fail" in why["authentication"]
    assert person.messages() == {}


@needs_postfix
@needs("swaks")
def test_postfix_sends_to_us_under_tls(person: Person, public_folder: Path, free_port: int) -> None:
    settings = f"relayhost = [127.0.0.1]:{person.server.ports['smtp']}\nsmtp_tls_security_level = encrypt\n"
    with postfix(public_folder, free_port, settings) as log:
        send = ("swaks", "--server", f"127.0.0.1:{free_port}", "--from", "bob@friend.example", "--to", person.address)
        run(*send, "--header", "Subject: by Postfix")
        eventually("the message", lambda: "by Postfix" in person.messages())
        run(*send[:-1], "nobody.at.all@example.org")
        eventually("the refusal", lambda: "550 5.1.1" in log.read_text())
    why = explained(person, "accepted")
    assert (why["helo"], why["tls"][:4]) == ("front.example", "TLSv")
