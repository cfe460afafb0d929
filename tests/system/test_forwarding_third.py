"""Three servers that find each other by MX: what the middle one forwards still proves itself, and reports find back."""

from __future__ import annotations

import email
import smtplib
import socket
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from mailbox_app.demo.appliance import Appliance
from mailbox_app.mailqueue.srs import is_rewritten
from tests.support.daemon import eventually
from tests.support.dns import FakeDnsServer
from tests.support.dns_thread import dns_in_thread

PASSWORD = "correct horse battery"
NAMES = {"north.example": "127.0.0.11", "middle.example": "127.0.0.12", "south.example": "127.0.0.13"}
pytestmark = [pytest.mark.system, pytest.mark.xdist_group("interop")]


@pytest.fixture
def dns() -> Iterator[FakeDnsServer]:
    with dns_in_thread() as server:
        yield server


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def servers(tmp_path: Path, dns: FakeDnsServer, port: int) -> Iterator[dict[str, Appliance]]:
    made: dict[str, Appliance] = {}
    try:
        for name, address in NAMES.items():
            _appliance(made, tmp_path, name, address, port, dns)
        yield made
    finally:
        for server in made.values():
            server.abandon()


def _appliance(
    made: dict[str, Appliance], folder: Path, name: str, address: str, port: int, dns: FakeDnsServer
) -> None:
    """One with a signing key, its records in the DNS; all connect from the one loopback address."""
    (folder / name).mkdir()
    made[name] = server = Appliance(folder / name, dns.address, port, hostname=f"mail.{name}")
    text = server.config.read_text().replace('smtp = ["127.0.0.1:0"]', f'smtp = ["{address}:{port}"]')
    server.config.write_text(text)
    server.start()
    server.command("domain", "add", name)
    server.command("user", "add", f"alice@{name}", "--password-file", "-", stdin=PASSWORD + "\n")
    server.command("dkim", "generate", name)
    for record in server.query("domain", "dns", name)["records"]:
        if record["type"] == "TXT":
            dns.zone[(record["name"].rstrip("."), "TXT")] = [record["value"]]
    dns.zone[(name, "MX")] = [f"10 mail.{name}."]
    dns.zone[(f"mail.{name}", "A")] = [address]
    dns.zone[(name, "TXT")] = ["v=spf1 ip4:127.0.0.1 -all"]


def messages(server: Appliance, name: str) -> list[Message]:
    client = server.mailbox(f"alice@{name}", PASSWORD)
    try:
        client.select("INBOX", readonly=True)
        _, found = client.search(None, "ALL")
        return [
            email.message_from_bytes(client.fetch(number, "(BODY.PEEK[])")[1][0][1])  # type: ignore[index]
            for number in found[0].split()
        ]
    finally:
        client.logout()


def submit(server: Appliance, target: str, subject: str) -> None:
    message = f"From: alice@north.example\r\nTo: {target}\r\nSubject: {subject}\r\n\r\nx\r\n"
    server.submit("alice@north.example", PASSWORD, [target], message)


def explained(server: Appliance, message_id: str) -> dict[str, Any]:
    """What one server knows about the message."""
    eventually("the record", lambda: server.query("trace", "--message-id", message_id)["rows"])
    (decision,) = server.query("trace", message_id)["decisions"]
    return dict(decision)


def copies(decision: dict[str, Any]) -> list[tuple[str, ...]]:
    """What became of each copy, and why."""
    words = ("address", "action", "target", "reason")
    return [tuple(each.get(word, "") for word in words) for each in decision["copies"]]


def test_forwarded_mail_passes_everywhere_and_its_reports_come_back(servers: dict[str, Appliance], port: int) -> None:
    north, middle, south = (servers[name] for name in NAMES)
    middle.command("alias", "add", "box@middle.example", "alice@south.example")
    middle.command("alias", "add", "gone@middle.example", "nobody@south.example")

    submit(north, "box@middle.example", "hello")
    (got,) = eventually("forwarded", lambda: messages(south, "south.example"))
    sender = str(got["Return-Path"]).strip("<>")
    assert is_rewritten(sender)
    assert sender.endswith("=north.example=alice@middle.example")
    results = " ".join(str(got["Authentication-Results"]).split())
    assert results.startswith("mail.south.example")
    for word in ("spf=pass", "dkim=pass", "dmarc=pass", "arc=pass"):
        assert word in results, results
    assert got["Delivered-To"] == "box@middle.example"
    assert "d=middle.example" in str(got["ARC-Seal"])
    assert "dkim=pass" in str(got["ARC-Authentication-Results"])

    # each server explains its part
    first, second, third = (explained(server, str(got["Message-ID"])) for server in (north, middle, south))
    assert (first["account"], first["service"]) == ("alice@north.example", "submissions")
    assert copies(first) == [("box@middle.example", "queued", "", "")]
    assert second["authentication"] == "spf=pass dkim=pass dmarc=pass"
    changes = f"the sender is {sender} from here on, sealed by ARC"
    assert copies(second) == [("box@middle.example", "redirected", "alice@south.example", changes)]
    assert (third["sender"], third["authentication"]) == (sender, "spf=pass dkim=pass dmarc=pass arc=pass")
    assert copies(third) == [("alice@south.example", "stored", "INBOX", "")]
    assert first["queue_ids"] != second["queue_ids"] != []

    # a report by the last server, to the sender that it saw
    with smtplib.SMTP(NAMES["middle.example"], port, "mail.south.example", timeout=20) as client:
        client.sendmail("", [sender], b"From: mailer-daemon@mail.south.example\r\nSubject: a report\r\n\r\nx\r\n")
    eventually("report", lambda: "a report" in [each["Subject"] for each in messages(north, "north.example")])

    # a refusal by the last server, which the middle one reports
    submit(north, "gone@middle.example", "into the void")
    reports = eventually(
        "refusal", lambda: [each for each in messages(north, "north.example") if "nobody@south.example" in str(each)]
    )
    assert reports[0]["Return-Path"] == "<>"
    assert reports[0].get_content_type() == "multipart/report"
