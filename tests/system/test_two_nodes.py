"""Two whole servers with one Redis act as one: what one learns of a stranger the other knows, mail of one leaves by the other."""

from __future__ import annotations

import asyncio
import json
import smtplib
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.daemon import PASSWORD, SECONDS, Daemon, eventually, mail, untrusting
from tests.support.dns_thread import dns_in_thread
from tests.support.redis import RedisServer
from tests.support.remote import FakeRemote

pytestmark = pytest.mark.system
_STRANGER = "192.0.2.7"
_TRIES = 6


class Peer:
    """Another mail server, in a thread; it listens when told to."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.remote = FakeRemote()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self.remote.start(self.port), self._loop).result(5)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.remote.close(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)


class Pair:
    """Two nodes, their Redis and a peer."""

    def __init__(self, tmp_path: Path, dns: tuple[str, int] | str) -> None:
        self.redis = RedisServer(tmp_path / "redis").start()
        self.peer = Peer()
        address = dns if isinstance(dns, str) else f"{dns[0]}:{dns[1]}"
        self.nodes = [self._node(tmp_path / name, address) for name in ("a", "b")]
        self.a, self.b = self.nodes

    def _node(self, folder: Path, dns: str) -> Daemon:
        folder.mkdir()
        node = Daemon(folder, fronts=1)
        text = node.config.read_text()
        text = text.replace('servers = ["127.0.0.1:9"]', f'servers = ["{dns}"]')
        text = text.replace("enabled = false", 'enabled = true\nmin_delay = "2s"')
        node.config.write_text(
            text + f'\n[queue]\nbackend = "redis"\nredis_url = "{self.redis.url}"\n'
            '[proxy]\ntrusted_networks = ["127.0.0.1"]\n[abuse]\ngreeting_delay_ms = 0\n'
            f'[delivery]\nsmarthost = "127.0.0.1:{self.peer.port}"\nallow_private_addresses = true\n'
        )
        node.start()
        node.add_account("alice@example.org")
        return node

    def destroy(self) -> None:
        for node in self.nodes:
            node.destroy()
        self.peer.close()
        self.redis.destroy()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with dns_in_thread() as dns:
        made = Pair(tmp_path, dns.address)
        try:
            yield made
        finally:
            made.destroy()


def talk(node: Daemon, *lines: bytes, remote_ip: str = _STRANGER) -> list[bytes]:
    """The last line of each reply, the greeting first, until the server hangs up."""
    replies = []
    with socket.create_connection(("127.0.0.1", node.ports["smtp"]), SECONDS) as connection:
        connection.sendall(f"PROXY TCP4 {remote_ip} 198.51.100.1 40000 25\r\n".encode())
        stream = connection.makefile("rb")
        for line in (b"", *lines):
            if line:
                connection.sendall(line + b"\r\n")
            reply = stream.readline()
            while reply[3:4] == b"-":
                reply = stream.readline()
            replies.append(reply)
            if not reply or reply.startswith(b"421"):
                break
    return replies


def deliver(node: Daemon, message_id: str) -> bytes:
    """A stranger brings a message: the reply that decides."""
    body = mail(message_id) + b"."
    replies = talk(
        node, b"EHLO x.example.net", b"MAIL FROM:<bob@example.net>", b"RCPT TO:<alice@example.org>", b"DATA", body
    )
    return next((reply for reply in replies if reply[:1] in b"45"), replies[-1])


def log_in(node: Daemon, password: str, remote_ip: str) -> bytes:
    with socket.create_connection(("127.0.0.1", node.ports["imaps"]), SECONDS) as plain:
        plain.sendall(f"PROXY TCP4 {remote_ip} 198.51.100.1 40000 993\r\n".encode())
        with untrusting().wrap_socket(plain) as connection:
            stream = connection.makefile("rb")
            if not stream.readline().startswith(b"* OK"):
                return b"BYE"
            connection.sendall(f'a LOGIN alice@example.org "{password}"\r\n'.encode())
            while not (line := stream.readline()).startswith(b"a "):
                if not line:
                    return b"BYE"
            return line[2:]


def submit(node: Daemon, message_id: str) -> None:
    """Alice writes to somebody outside."""
    with socket.create_connection(("127.0.0.1", node.ports["submissions"]), SECONDS) as plain:
        plain.sendall(b"PROXY TCP4 198.51.100.77 198.51.100.1 40000 465\r\n")
        client = smtplib.SMTP(timeout=SECONDS)
        client.sock = untrusting().wrap_socket(plain)
        client.file = None
        assert client.getreply()[0] == 220
        client.login("alice@example.org", PASSWORD)
        text = mail(message_id).replace(b"From: bob@example.net", b"From: alice@example.org")
        client.sendmail("alice@example.org", ["carol@far.example"], text)
        client.quit()


def health(node: Daemon) -> tuple[int, dict[str, dict[str, object]]]:
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{node.ports['metrics']}/health/detailed", timeout=SECONDS
        ) as found:
            status, answer = found.status, json.load(found)
    except urllib.error.HTTPError as error:
        status, answer = error.code, json.load(error)
    components = answer["components"]
    if isinstance(components, list):
        components = {each["name"]: each for each in components}
    return status, components


def metric(node: Daemon, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{node.ports['metrics']}/metrics", timeout=SECONDS) as found:
        lines = found.read().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(name) and not line.startswith("#"))


def test_what_one_learns_of_strangers_the_other_knows(pair: Pair) -> None:
    assert deliver(pair.a, "<1@x>").startswith(b"45")
    assert deliver(pair.b, "<1@x>").startswith(b"45"), "also for the other one it is too early"
    assert pair.b.call("status")["greylisted"] == 1
    time.sleep(2.1)  # the delay is of the servers' own clocks
    assert deliver(pair.b, "<1@x>").startswith(b"250")
    assert deliver(pair.a, "<2@x>").startswith(b"250"), "who came back at one is known at both"

    pair.a.call("ban.add", network="192.0.2.0/24", seconds=3600)
    eventually("a ban holds at both", lambda: all(talk(pair.b)[0].startswith(b"421") for _ in range(_TRIES)), every=0.5)
    assert talk(pair.b, remote_ip="203.0.113.5")[0].startswith(b"220")
    pair.b.call("ban.remove", network="192.0.2.0/24")
    eventually("and ends at both", lambda: all(talk(pair.a)[0].startswith(b"220") for _ in range(_TRIES)), every=0.5)


def test_guesses_at_both_are_counted_together(pair: Pair) -> None:
    guesser = "198.51.100.9"
    for number in range(10):
        log_in(pair.nodes[number % 2], f"guess {number}", guesser)
    assert not log_in(pair.b, PASSWORD, guesser).startswith(b"OK"), "five of them were made elsewhere"
    assert not log_in(pair.a, PASSWORD, guesser).startswith(b"OK")
    assert log_in(pair.b, PASSWORD, "198.51.100.10").startswith(b"OK")


def test_mail_taken_by_one_leaves_by_the_other(pair: Pair) -> None:
    submit(pair.a, "<out@x>")
    eventually("it waits", lambda: pair.b.call("queue.stats")["recipients"] == 1)
    eventually("it was tried", lambda: pair.b.call("queue.stats")["deferred"] == 1)
    assert pair.a.stop() == 0
    pair.peer.start()
    plan = pair.b.call("queue.plan", action="retry", filter={})
    pair.b.call("queue.apply", action="retry", filter={}, plan=plan["plan"])
    eventually("it is delivered", lambda: pair.peer.remote.messages)
    eventually("the queue is empty", lambda: pair.b.call("queue.stats")["recipients"] == 0)
    assert b"<out@x>" in pair.peer.remote.messages[0].content


def test_without_redis_nothing_is_lost_and_all_comes_back(pair: Pair) -> None:
    assert [health(node)[1]["redis"]["status"] for node in pair.nodes] == ["ok", "ok"]
    assert metric(pair.a, "mailserver_redis_up") == 1
    pair.redis.kill()
    for node in pair.nodes:
        began = time.monotonic()
        reply = deliver(node, "<3@x>")
        assert reply[:1] in b"24", reply
        assert time.monotonic() - began < SECONDS / 2
        assert log_in(node, PASSWORD, "198.51.100.10").startswith(b"OK"), "what needs no Redis goes on"
        with pytest.raises(smtplib.SMTPException) as caught:
            submit(node, "<lost@x>")
        assert _code(caught.value) // 100 == 4
        component = eventually(
            "health tells", lambda node=node: (found := health(node)[1]["redis"])["status"] != "ok" and found
        )  # type: ignore[misc]
        assert "cannot be reached" in str(component)
        assert node.call("status")["redis_up"] is False
    eventually("the metric tells", lambda: metric(pair.a, "mailserver_redis_up") == 0)
    pair.redis.start()
    eventually("all is well", lambda: all(health(node)[1]["redis"]["status"] == "ok" for node in pair.nodes))
    pair.peer.start()
    for number, node in enumerate(pair.nodes):

        def taken(node: Daemon = node, number: int = number) -> bool:
            with suppress(smtplib.SMTPException):
                submit(node, f"<back{number}@x>")
                return True
            return False

        eventually("mail is taken again", taken)
    eventually("and leaves", lambda: len(pair.peer.remote.messages) == 2)
    eventually("the metric tells", lambda: metric(pair.a, "mailserver_redis_up") == 1)


def _code(error: smtplib.SMTPException) -> int:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return next(iter(error.recipients.values()))[0]
    assert isinstance(error, smtplib.SMTPResponseException), error
    return error.smtp_code


def test_a_password_that_everybody_can_read_is_told_before_anything_starts(tmp_path: Path) -> None:
    node = Daemon(tmp_path, fronts=1)
    (tmp_path / "password").write_text("secret")
    (tmp_path / "password").chmod(0o644)
    node.config.write_text(
        node.config.read_text() + '\n[queue]\nbackend = "redis"\nredis_url = "redis://127.0.0.1:1"\n'
        'redis_password_file = "password"\n'
    )
    assert node.spawn().wait(SECONDS) == 1
    last = node.log_path.read_text().splitlines()[-1]
    assert last.startswith("mailbox: queue.redis_password_file ")
    assert "chmod 600" in last


def test_a_redis_that_hangs_holds_up_nobody_for_long(pair: Pair) -> None:
    pair.redis.freeze()
    try:
        began = time.monotonic()
        for number in range(20):
            reply = deliver(pair.a, f"<hang{number}@x>")
            assert reply[:1] in b"24", reply
        assert log_in(pair.a, PASSWORD, "198.51.100.10").startswith(b"OK")
        assert time.monotonic() - began < SECONDS, "one wait for each process, not one for each message"
    finally:
        pair.redis.thaw()
    eventually("all is well", lambda: health(pair.a)[1]["redis"]["status"] == "ok")
