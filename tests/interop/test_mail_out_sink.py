"""smtp-sink of Postfix as the other side, told to misbehave at each step: what waits, comes back, or arrives all the same."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, eventually
from tests.support.dns_thread import dns_in_thread
from tests.support.mail_peer import ALICE, free_port, gone, outgoing, retry, submit, waiting

SINK = shutil.which("smtp-sink", path="/usr/sbin:/usr/bin") or ""
pytestmark = [pytest.mark.system, pytest.mark.skipif(not SINK, reason="smtp-sink is not installed")]
_PUT_OFF = {
    "soft-greeting": "-r CONNECT",
    "soft-sender": "-r MAIL",
    "soft-recipient": "-r RCPT",
    "soft-data": "-r DATA",
    "soft-end": "-r .",
    "closes-greeting": "-q CONNECT",
    "closes-ehlo": "-q EHLO",
    "closes-sender": "-q MAIL",
    "closes-data": "-q DATA",
    "closes-end": "-q .",
    "421-sender": "-Q MAIL",
    "421-recipient": "-Q RCPT",
    "421-end": "-Q .",
}
_REFUSED = {
    "hard-sender": "-f MAIL",
    "hard-recipient": "-f RCPT",
    "hard-data": "-f DATA",
    "hard-end": "-f .",
    "hard-before-end": "-A 1",
    "hard-before-end-large": "-A 1",
}
_TAKEN = {
    "plain": "",
    "old": "-e",
    "pix": "-P",
    "hard-ehlo": "-f EHLO",
    "unpipelined": "-p -8 -E -N",
    "slow": "-w 1",
    "hard-quit": "-f QUIT",
    "closes-quit": "-q QUIT",
}


@dataclass
class Net:
    daemon: Daemon
    folder: Path

    def taken(self, case: str) -> list[bytes]:
        """What the sink wrote down; with the envelope in X- fields."""
        return [each.read_bytes() for each in sorted(self.folder.glob(f"{case}-*"))]


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "ours").mkdir()
        dns = stack.enter_context(dns_in_thread())
        port = free_port("0.0.0.0")
        for number, (case, options) in enumerate({**_PUT_OFF, **_REFUSED, **_TAKEN}.items(), 1):
            address = f"127.0.2.{number}"
            dns.zone[f"{case}.example", "MX"] = [f"10 mx.{case}.example."]
            dns.zone[f"mx.{case}.example", "A"] = [address]
            user = ["-u", "nobody"] if os.geteuid() == 0 else []
            words = [SINK, *user, *options.split(), "-d", f"{folder}/{case}-", f"{address}:{port}", "16"]
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            eventually(f"{case} listens", lambda address=address: _listens(address, port))  # type: ignore[misc]
        daemon = outgoing(folder / "ours", dns.address, port)
        stack.callback(daemon.destroy)
        daemon.start()
        daemon.add_account(ALICE)
        yield Net(daemon, folder)


def _listens(address: str, port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex((address, port)) == 0


@pytest.mark.parametrize("case", _PUT_OFF)
def test_what_may_be_different_later_waits_and_says_at_which_host(net: Net, case: str) -> None:
    bob = f"bob@{case}.example"
    submit(net.daemon, [bob], case)
    row = waiting(net.daemon, bob)
    assert row["code"] // 100 == 4
    assert f"mx.{case}.example" in row["why"]
    if case.startswith("soft-"):
        assert "Error: command failed" in row["why"]
    if case in ("closes-greeting", "closes-ehlo", "closes-sender", "closes-data"):
        assert "the server closed the connection" in row["why"]
        assert "answered" not in row["why"], "it said nothing"
    retry(net.daemon, ids=[row["id"]])
    eventually("it was tried again", lambda: waiting(net.daemon, bob)["attempts"] == 2)


@pytest.mark.parametrize("case", _REFUSED)
def test_what_is_refused_for_good_comes_back_to_the_sender(net: Net, case: str) -> None:
    bob = f"bob@{case}.example"
    submit(net.daemon, [bob], case, body="more than any buffer holds\r\n" * (100_000 if "large" in case else 1))
    row = gone(net.daemon, bob)
    assert (row["fate"], row["code"] // 100, row["attempts"]) == ("failed", 5, 1)

    def report() -> bool:
        return any(bob.encode() in each and b"Action: failed" in each for each in net.daemon.messages(ALICE))

    eventually("the report", report)


@pytest.mark.parametrize("case", _TAKEN)
def test_old_and_odd_servers_get_their_mail_once(net: Net, case: str) -> None:
    bob = f"bob@{case}.example"
    submit(net.daemon, [bob], case)
    row = gone(net.daemon, bob)
    assert (row["fate"], row["attempts"]) == ("delivered", 1)
    [content] = eventually("it is written down", lambda: net.taken(case))
    assert f"X-Rcpt-Args: <{bob}>".encode() in content
    assert f"Subject: {case}\n".encode() in content.replace(b"\r\n", b"\n")
