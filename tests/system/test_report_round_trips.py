"""Delivery reports there and back with a Postfix as the other side: what it is told, and what it tells us."""

from __future__ import annotations

import email
import email.policy
import shutil
import smtplib
import socket
import tempfile
from collections.abc import Iterator
from email.message import EmailMessage, Message
from pathlib import Path

import pytest

from tests.support.daemon import PASSWORD, SECONDS, Daemon, eventually, untrusting
from tests.support.postfix import needs_postfix, postfix

pytestmark = [pytest.mark.system, needs_postfix]
ALICE, BOB = "alice@example.org", "bob@example.org"
CONTENT = f"From: {ALICE}\r\nTo: x@peer.example\r\nSubject: out\r\nMessage-ID: <out@example.org>\r\n\r\nhi\r\n"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Open to Postfix's user."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def pair(tmp_path: Path, folder: Path) -> Iterator[tuple[Daemon, int]]:
    """Our server, and a Postfix that is its smarthost and sends everything to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    daemon = Daemon(tmp_path)
    with daemon.config.open("a") as file:
        file.write(f'\n[delivery]\nsmarthost = "127.0.0.1:{port}"\nallow_private_addresses = true\n')
    try:
        daemon.start()
        for address in (ALICE, BOB):
            daemon.add_account(address)
        settings = (
            f"relayhost = [127.0.0.1]:{daemon.ports['smtp']}\n"
            "virtual_alias_maps = inline:{ { joe@peer.example = alice@example.org } }\n"
        )
        with postfix(folder, port, settings):
            yield daemon, port
    finally:
        daemon.destroy()


def report(daemon: Daemon) -> EmailMessage:
    def found() -> EmailMessage | None:
        for content in daemon.messages(ALICE):
            message = email.message_from_bytes(content, policy=email.policy.default)
            if message.get_content_type() == "multipart/report":
                assert isinstance(message, EmailMessage)
                return message
        return None

    made = eventually("the report", found, 60)
    assert isinstance(made, EmailMessage)
    return made


def blocks(message: EmailMessage) -> list[Message]:
    status = message.get_payload(1)
    assert isinstance(status, Message)
    found = status.get_payload()
    assert isinstance(found, list)
    return [each for each in found if isinstance(each, Message)]


def test_postfix_reports_a_failure_with_the_names_that_our_user_gave(pair: tuple[Daemon, int]) -> None:
    daemon, _ = pair
    with smtplib.SMTP_SSL("127.0.0.1", daemon.ports["submissions"], context=untrusting(), timeout=SECONDS) as client:
        client.login(ALICE, PASSWORD)
        client.sendmail(
            ALICE,
            ["nobody@peer.example"],
            CONTENT,
            mail_options=["RET=HDRS", "ENVID=our+2Bid"],
            rcpt_options=["NOTIFY=FAILURE", "ORCPT=rfc822;first@peer.example"],
        )
    message = report(daemon)
    about, recipient = blocks(message)[:2]
    assert about["Original-Envelope-Id"] == "our+id"
    assert about["Reporting-MTA"] == "dns; front.example"
    assert recipient["Original-Recipient"].replace("; ", ";") == "rfc822;first@peer.example"
    assert recipient["Action"] == "failed"


def test_we_report_a_delivery_to_who_asked_through_postfix(pair: tuple[Daemon, int]) -> None:
    daemon, port = pair
    with smtplib.SMTP("127.0.0.1", port, timeout=SECONDS) as client:
        client.sendmail(
            "joe@peer.example",
            [BOB],
            CONTENT.replace(ALICE, "joe@peer.example"),
            mail_options=["ENVID=theirs"],
            rcpt_options=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;bob+2Bx@example.org"],
        )
    message = report(daemon)  # joe's mail leads to alice
    about, recipient = blocks(message)[:2]
    assert about["Original-Envelope-Id"] == "theirs"
    assert about["Reporting-MTA"] == "dns; mail.example.org"
    assert recipient["Original-Recipient"] == "rfc822; bob+x@example.org"
    assert (recipient["Action"], recipient["Final-Recipient"]) == ("delivered", f"rfc822; {BOB}")
    assert message["In-Reply-To"] == "<out@example.org>"
    assert len(daemon.messages(BOB)) == 1
