"""Programs of the machine and mail clients as senders: mail(1), cron's way of calling sendmail, and mail for later."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.daemon import PASSWORD, Daemon
from tests.support.debian_programs import needs_program, program
from tests.support.dns_thread import dns_in_thread
from tests.support.mail_peer import ALICE, Peer, free_port, gone, mail_peer, outgoing, retry, submit
from tests.support.postfix import needs_postfix
from tests.support.programs import needs, run

pytestmark = [pytest.mark.system, needs_postfix]
_THERE = "127.0.1.81"
BOB = "bob@there.example"


@dataclass
class Net:
    daemon: Daemon
    peer: Peer
    sendmail: Path


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    """`sendmail` is a program of that name, as a link to ours would be."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        for each in ("peer", "ours"):
            (folder / each).mkdir()
        dns = stack.enter_context(dns_in_thread())
        dns.zone["there.example", "MX"] = ["10 mx.there.example."]
        dns.zone["mx.there.example", "A"] = [_THERE]
        port = free_port(_THERE)
        daemon = outgoing(folder / "ours", dns.address, port)
        stack.callback(daemon.destroy)
        daemon.start()
        for address in (ALICE, "postmaster@example.org"):
            daemon.add_account(address)
        sendmail = folder / "sendmail"
        place = Path(__file__).resolve().parents[2]
        sendmail.write_text(
            f'#!/bin/sh\nPYTHONPATH="{place}" exec {sys.executable} -m mailbox_app --config "{daemon.config}" sendmail "$@"\n'
        )
        sendmail.chmod(0o755)
        yield Net(
            daemon, stack.enter_context(mail_peer(folder / "peer", port, {_THERE: {}}, ["there.example"])), sendmail
        )


def called(net: Net, *words: str, text: bytes) -> None:
    done = subprocess.run([net.sendmail, *words], input=text, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_what_cron_hands_over_leaves_as_the_postmasters(net: Net) -> None:
    text = b"From: root (Cron Daemon)\nTo: bob@there.example\nSubject: Cron <root@box> backup\n\nall is saved\n.\nend\n"
    called(net, "-FCronDaemon", "-i", "-B8BITMIME", "-oem", BOB, text=text)
    arrived = net.peer.arrived(BOB, "Cron <root@box> backup")
    assert b"Return-Path: <postmaster@example.org>" in arrived
    assert b"all is saved\n.\nend\n" in arrived
    assert b"Message-ID: <" in arrived


def test_recipients_of_the_header_leave_and_bcc_is_not_seen(net: Net) -> None:
    text = f"From: {ALICE}\nTo: {BOB}\nBcc: carl@there.example\nSubject: by header\n\nhi\n".encode()
    called(net, "-t", "-i", "-f", ALICE, text=text)
    for each in (BOB, "carl@there.example"):
        assert b"Bcc" not in net.peer.arrived(each, "by header")


@needs_program("bsd-mailx", "usr/bin/bsd-mailx")
def test_mail_of_the_command_mail(net: Net, tmp_path: Path) -> None:
    (tmp_path / "mailrc").write_text(f"set sendmail={net.sendmail}\n")
    command = [program("bsd-mailx", "usr/bin/bsd-mailx"), "-s", "from the command line", BOB]
    done = subprocess.run(
        command,
        input=b"the disk is full\n",
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "MAILRC": str(tmp_path / "mailrc"), "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    arrived = net.peer.arrived(BOB, "from the command line")
    assert b"the disk is full" in arrived
    assert b"Return-Path: <postmaster@example.org>" in arrived


@needs("swaks")
def test_swaks_sends_with_a_login(net: Net) -> None:
    place = ("--server", "127.0.0.1", "--port", net.daemon.ports["submission"], "--tls")
    login = ("--auth", "PLAIN", "--auth-user", ALICE, "--auth-password", PASSWORD)
    run("swaks", *place, *login, "--from", ALICE, "--to", BOB, "--header", "Subject: by swaks")
    assert b"by swaks" in net.peer.arrived(BOB, "by swaks")


@pytest.mark.parametrize(("by", "user"), [("HOLDFOR", "carl"), ("HOLDUNTIL", "dora")])
def test_mail_for_later_waits_until_then_and_can_be_sent_now(net: Net, by: str, user: str) -> None:
    recipient, later = f"{user}@there.example", datetime.now(UTC) + timedelta(hours=5)
    value = "18000" if by == "HOLDFOR" else later.strftime("%Y-%m-%dT%H:%M:%SZ")
    submit(net.daemon, [recipient], by, mail_options=[f"{by}={value}"])
    [row] = net.daemon.call("queue.list", filter={"to": recipient}, why=True)["rows"]
    assert row["attempts"] == 0
    assert abs(datetime.fromisoformat(row["next_at"]) - later) < timedelta(minutes=2)
    assert "as its sender asked" in row["why"]
    assert by not in net.peer.subjects(recipient)
    retry(net.daemon, ids=[row["id"]])
    net.peer.arrived(recipient, by)
    assert gone(net.daemon, recipient)["fate"] == "delivered"
