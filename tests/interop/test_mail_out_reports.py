"""Delivery reports between us and a Postfix at the end of an MX: asked for, passed on, made by us, and understood there."""

from __future__ import annotations

import email
import email.policy
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from email.message import EmailMessage, Message
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, eventually
from tests.support.dns_thread import dns_in_thread
from tests.support.mail_peer import Peer, free_port, gone, mail_peer, outgoing, submit
from tests.support.postfix import needs_postfix

pytestmark = [pytest.mark.system, needs_postfix]
_WITH, _WITHOUT = "127.0.1.51", "127.0.1.52"
_ALL = ("NOTIFY=SUCCESS,FAILURE,DELAY", "ORCPT=rfc822;first+2Bname@list.example")


@dataclass
class Net:
    daemon: Daemon
    peer: Peer

    def account(self, name: str) -> str:
        """A fresh one."""
        address = f"{name}@example.org"
        self.daemon.add_account(address)
        return address

    def reports(self, address: str) -> list[EmailMessage]:
        """In the mailbox of one of our users."""
        return _reports(self.daemon.messages(address))

    def report(self, address: str) -> EmailMessage:
        """The first one."""
        made: EmailMessage = eventually(f"a report for {address}", lambda: next(iter(self.reports(address)), None))
        return made


def _reports(contents: list[bytes]) -> list[EmailMessage]:
    made = [email.message_from_bytes(each, policy=email.policy.default) for each in contents]
    return [each for each in made if isinstance(each, EmailMessage) and each.get_content_type() == "multipart/report"]


def blocks(message: EmailMessage) -> list[Message]:
    """What is said of the message, then of each recipient."""
    status = message.get_payload(1)
    assert isinstance(status, Message)
    text = status.as_bytes().partition(b"\n\n")[2]  # Python reads message/delivery-status, but not the global one
    parts = [each for each in text.replace(b"\r\n", b"\n").split(b"\n\n") if each.strip()]
    return [email.message_from_bytes(each) for each in parts]


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    """`with.example` knows reports and SMTPUTF8, `without.example` neither."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        for each in ("peer", "ours"):
            (folder / each).mkdir()
        dns = stack.enter_context(dns_in_thread())
        port = free_port()
        for each, address in (("with", _WITH), ("without", _WITHOUT)):
            dns.zone[f"{each}.example", "MX"] = [f"10 mx.{each}.example."]
            dns.zone[f"mx.{each}.example", "A"] = [address]
        daemon = outgoing(folder / "ours", dns.address, port)
        stack.callback(daemon.destroy)
        daemon.start()
        listeners = {_WITH: {}, _WITHOUT: {"smtpd_discard_ehlo_keywords": "dsn, smtputf8"}}
        settings = f"relayhost = [127.0.0.1]:{daemon.ports['smtp']}\n"
        domains = ["with.example", "without.example"]
        yield Net(daemon, stack.enter_context(mail_peer(folder / "peer", port, listeners, domains, settings)))


def test_a_peer_reports_success_with_all_that_our_user_gave(net: Net) -> None:
    sender = net.account("success")
    options = ["RET=HDRS", "ENVID=our+2Bid"]
    submit(net.daemon, ["bob@with.example"], "told", sender=sender, mail_options=options, rcpt_options=_ALL)
    net.peer.arrived("bob@with.example", "told")
    message = net.report(sender)
    about, recipient = blocks(message)[:2]
    assert about["Reporting-MTA"] == "dns; front.example"
    assert about["Original-Envelope-Id"] == "our+id"
    assert recipient["Original-Recipient"].replace("; ", ";") == "rfc822;first+name@list.example"
    assert recipient["Action"] == "delivered"
    assert len(net.reports(sender)) == 1, "the one who reports is the peer, and not us as well"


def test_a_peer_without_reports_is_told_as_relayed_by_us(net: Net) -> None:
    sender = net.account("relayed")
    options = ["RET=HDRS", "ENVID=our+2Bid"]
    submit(net.daemon, ["bob@without.example"], "handed on", sender=sender, mail_options=options, rcpt_options=_ALL)
    net.peer.arrived("bob@without.example", "handed on")
    about, recipient = blocks(net.report(sender))[:2]
    assert about["Reporting-MTA"] == "dns; mail.example.org"
    assert about["Original-Envelope-Id"] == "our+id"
    assert recipient["Original-Recipient"].replace("; ", ";") == "rfc822;first+name@list.example"
    assert recipient["Action"] == "relayed"


def test_several_refusals_are_one_report_and_the_others_get_their_mail(net: Net) -> None:
    sender = net.account("several")
    everybody = ["nobody@with.example", "bob@with.example", "noone@with.example"]
    submit(net.daemon, everybody, "partly", sender=sender, mail_options=["ENVID=x1"])
    net.peer.arrived("bob@with.example", "partly")
    about, *recipients = blocks(net.report(sender))
    assert about["Original-Envelope-Id"] == "x1"
    refused = [each for each in recipients if each["Action"] == "failed"]
    assert sorted(each["Final-Recipient"] for each in refused) == [
        "rfc822; nobody@with.example",
        "rfc822; noone@with.example",
    ]
    for each in refused:
        assert each["Status"] == "5.1.1"
        assert "mx.with.example" in each["Remote-MTA"]
        assert each["Diagnostic-Code"].startswith("smtp; 550")
    for name in ("nobody", "noone"):
        assert gone(net.daemon, f"{name}@with.example")["fate"] == "failed"
    assert len(net.reports(sender)) == 1


def test_a_peers_user_understands_our_report(net: Net) -> None:
    """Her mail to an address here goes on to one there that does not exist."""
    owner = net.account("owner")
    net.daemon.call("alias.add", address="away@example.org", targets=["missing@with.example"])
    with net.daemon.smtp() as client:
        client.sendmail(
            "carl@with.example",
            ["away@example.org"],
            f"From: carl@with.example\r\nTo: {owner}\r\nSubject: lost\r\nMessage-ID: <lost@with.example>\r\n\r\nx\r\n",
        )
    [message] = eventually("Carl hears of it", lambda: _reports(net.peer.messages("carl@with.example")))
    about, recipient = blocks(message)[:2]
    assert about["Reporting-MTA"] == "dns; mail.example.org"
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.1.1")
    assert ": from=<>" in net.peer.log
    assert message["In-Reply-To"] == "<lost@with.example>"
    assert "away@example.org" in f"{recipient['Original-Recipient']} {recipient['Final-Recipient']}"


def test_what_has_no_sender_is_never_reported(net: Net) -> None:
    net.daemon.call("alias.add", address="void@example.org", targets=["gone@with.example"])
    before = net.peer.log.count(": from=<>")
    with net.daemon.smtp() as client:
        client.sendmail("", ["void@example.org"], "From: x@with.example\r\nSubject: no sender\r\n\r\nx\r\n")
    assert gone(net.daemon, "gone@with.example")["fate"] == "failed"
    eventually("nothing waits", lambda: net.daemon.call("queue.stats")["recipients"] == 0)
    assert net.peer.log.count(": from=<>") == before, "nothing without a sender entered its queue"


def test_addresses_beyond_ascii_go_to_who_knows_them(net: Net) -> None:
    sender = net.account("beyond")
    submit(net.daemon, ["jürgen@with.example"], "grüße", sender=sender, mail_options=["SMTPUTF8"])
    eventually("it arrives", lambda: net.peer.messages("jürgen@with.example"))
    assert gone(net.daemon, "jürgen@with.example")["fate"] == "delivered"

    submit(net.daemon, ["jürgen@without.example"], "grüße", sender=sender, mail_options=["SMTPUTF8"])
    message = net.report(sender)
    assert b"j\xc3\xbcrgen@without.example" in b"".join(net.daemon.messages(sender))
    recipient = blocks(message)[1]
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.6.7")
    assert net.peer.messages("jürgen@without.example") == []
