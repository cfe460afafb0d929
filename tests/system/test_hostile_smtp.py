"""Strangers on the SMTP ports who know no rules: the daemon answers or hangs up, and serves the next one as ever."""

from __future__ import annotations

import base64
import contextlib
import os
import random
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.daemon import Daemon, mail
from tests.support.rough import ALICE, SMTP_FRAGMENTS, check_well, clean_daemon, exchange, noise, rude

pytestmark = pytest.mark.system
SECONDS = float(os.environ.get("MAILBOX_HOSTILE_SECONDS", "4"))
"""For each kind of randomness."""
SEED = int(os.environ.get("MAILBOX_HOSTILE_SEED", "1"))
HELLO = b"EHLO client.example.net\r\n"
ENVELOPE = HELLO + b"MAIL FROM:<bob@example.net>\r\nRCPT TO:<alice@example.org>\r\n"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    yield from clean_daemon(tmp_path_factory.mktemp("hostile"))


CASES = {
    "nothing": b"",
    "nul": b"\0" * 5_000 + b"\r\n",
    "high bytes": bytes(range(128, 256)) * 200 + b"\r\n",
    "endless line": b"A" * 3_000_000,
    "endless line, then a command": b"A" * 3_000_000 + b"\r\nNOOP\r\n",
    "empty lines": b"\r\n" * 20_000,
    "bare ends": b"EHLO a\nMAIL FROM:<a@b>\rRCPT TO:<c@d>\n" * 50,
    "pipelined flood": HELLO + b"NOOP\r\n" * 50_000,
    "resets": HELLO + b"RSET\r\n" * 50_000,
    "many hellos": HELLO * 20_000,
    "thousands of recipients": HELLO + b"MAIL FROM:<bob@example.net>\r\n" + b"RCPT TO:<alice@example.org>\r\n" * 5_000,
    "thousands of dead recipients": HELLO
    + b"MAIL FROM:<bob@example.net>\r\n"
    + b"".join(b"RCPT TO:<x%d@example.org>\r\n" % number for number in range(5_000)),
    "nested angles": HELLO + b"MAIL FROM:" + b"<" * 400 + b"\r\n",
    "long path": HELLO + b"MAIL FROM:<" + b"a" * 300 + b"@" + b"b." * 200 + b"c>\r\n",
    "source route": HELLO + b"MAIL FROM:<" + b"@a," * 150 + b"@a:b@c.example>\r\nRCPT TO:<" + b"@x:" * 9 + b"a@b>\r\n",
    "quoted pairs": HELLO + b'MAIL FROM:<"' + b'\\"' * 150 + b'"@b.example>\r\n',
    "odd parameters": HELLO + b"MAIL FROM:<a@b.example> SIZE=99999999999999999999999 BODY=\xff RET==+ ENVID=+ZZ\r\n",
    "negative size": HELLO + b"MAIL FROM:<a@b.example> SIZE=-1\r\n",
    "injected by address": HELLO + b"MAIL FROM:<a@b.example\0>\r\nRCPT TO:<alice@example.org\x0b>\r\n",
    "pipelined behind starttls": HELLO
    + b"STARTTLS\r\nMAIL FROM:<evil@example.net>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n",
    "starttls and garbage": HELLO + b"STARTTLS\r\n",
    "tls in clear": bytes.fromhex("16030100a5010000a10303") + bytes(200),
    "http": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nMAIL FROM:<a@b>\r\n",
    "auth in clear": HELLO + b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n" * 30,
    "bdat without envelope": HELLO + b"BDAT 5 LAST\r\nRSET\r\nQUIT\r\n",
    "bdat too short": ENVELOPE + b"BDAT 100 LAST\r\nshort",
    "bdat says less": ENVELOPE + b"BDAT 3\r\nMAIL FROM:<a@b>\r\nBDAT 0 LAST\r\n",
    "bdat huge": ENVELOPE + b"BDAT 99999999999999999999 LAST\r\n" + b"x" * 100_000,
    "bdat 4 GiB": ENVELOPE + b"BDAT 4294967296\r\n" + b"x" * 100_000,
    "bdat negative": ENVELOPE + b"BDAT -1 LAST\r\n",
    "bdat words": ENVELOPE + b"BDAT 1 LAST LAST\r\nBDAT \xb2\r\nBDAT\r\nBDAT 0x10\r\n",
    "bdat by the byte": ENVELOPE + b"BDAT 1\r\nx" * 5_000,
    "bdat of nothing": ENVELOPE + b"BDAT 0\r\n" * 20_000,
    "data without end": ENVELOPE + b"DATA\r\nSubject: x\r\n\r\nhello\r\n.",
    "data with nul": ENVELOPE + b"DATA\r\n\0\r\n.\r\nQUIT\r\n",
    "data with a bare end": ENVELOPE + b"DATA\r\nhello\n.\nMAIL FROM:<x@y>\r\n.\r\nQUIT\r\n",
    "data as one line": ENVELOPE + b"DATA\r\n" + b"x" * 2_000_000 + b"\r\n.\r\nQUIT\r\n",
    "dots": ENVELOPE + b"DATA\r\n" + b"..\r\n" * 200_000 + b".\r\nQUIT\r\n",
}


@pytest.mark.parametrize("half_open", [True, False], ids=["half open", "open"])
def test_each_kind_of_abuse_leaves_the_service_well(daemon: Daemon, half_open: bool) -> None:
    for service in ("smtp", "submission"):
        for data in CASES.values():
            exchange(daemon.ports[service], data, half_open=half_open)
    check_well(daemon)


def test_content_that_follows_starttls_in_clear_is_never_obeyed(daemon: Daemon) -> None:
    with socket.create_connection(("127.0.0.1", daemon.ports["submission"]), 20) as connection:
        lines = connection.makefile("rb")
        lines.readline()
        connection.sendall(HELLO)
        while lines.readline()[3:4] == b"-":
            pass
        connection.sendall(b"STARTTLS\r\nNOOP\r\n")
        answers = lines.read()
    assert b"2.0.0" not in answers.partition(b"\r\n")[2]
    check_well(daemon)


def test_a_connection_may_end_after_any_byte(daemon: Daemon) -> None:
    whole = ENVELOPE + b"DATA\r\n" + mail("<cut@example.net>", 50).replace(b"A line", b"..A line")
    whole_chunked = ENVELOPE + b"BDAT 10\r\n0123456789BDAT 5 LAST\r\nabc"
    chance = random.Random(SEED)
    for data in (whole, whole_chunked):
        for end in sorted(chance.sample(range(len(data)), 60)):
            with rude(daemon.ports["smtp"]) as connection:
                connection.sendall(data[:end])
                if end % 3 == 0:  # not even a goodbye: RST
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                elif end % 3 == 1:
                    connection.recv(100)
    check_well(daemon)
    with daemon.imap(ALICE) as session:
        session.select("INBOX", readonly=True)
        assert session.search(None, "HEADER", "Message-ID", "<cut@example.net>") == ("OK", [b""])
        assert session.search(None, "BODY", "0123456789") == ("OK", [b""])


def test_random_commands(daemon: Daemon) -> None:
    chance, end = random.Random(SEED), time.monotonic() + SECONDS
    while time.monotonic() < end:
        words = [chance.choice(SMTP_FRAGMENTS) for _ in range(chance.randint(1, 120))]
        if chance.random() < 0.5:
            words.insert(0, ENVELOPE)
        data = noise(chance, b"".join(words))
        exchange(daemon.ports[chance.choice(["smtp", "submission"])], data, half_open=chance.random() < 0.7)
    check_well(daemon)


def test_random_logins(daemon: Daemon) -> None:
    """AUTH is where strangers may send long lines; three wrong answers cost seconds, so each goes a third of the way."""
    chance, end = random.Random(SEED), time.monotonic() + SECONDS
    while time.monotonic() < end:
        with rude(daemon.ports["submissions"], tls=True, source=f"127.0.7.{chance.randint(1, 250)}") as connection:
            response = noise(chance, b"\0".join([b"", ALICE.encode(), b"x" * chance.choice([0, 5, 9_000])]))
            encoded = base64.b64encode(response) if chance.random() < 0.7 else response
            start = chance.choice([b"AUTH PLAIN ", b"AUTH PLAIN\r\n", b"AUTH LOGIN ", b"AUTH LOGIN\r\n", b"AUTH X "])
            connection.settimeout(0.3)
            connection.sendall(HELLO + start + encoded + b"\r\n" + encoded + b"\r\n*\r\n")
            with contextlib.suppress(TimeoutError):
                while connection.recv(65_536):
                    pass
    check_well(daemon)


def test_garbage_instead_of_a_handshake(daemon: Daemon) -> None:
    chance = random.Random(SEED)
    for service in ("submissions", "imaps"):
        for _ in range(40):
            hello = bytes.fromhex("16030100a5010000a10303") + chance.randbytes(170)
            exchange(daemon.ports[service], noise(chance, hello), half_open=True)
    with rude(daemon.ports["submission"]) as connection:
        connection.sendall(HELLO)
        connection.recv(4_096)
        connection.sendall(b"STARTTLS\r\n")
        connection.recv(4_096)
        connection.sendall(chance.randbytes(5_000))
        connection.recv(4_096)
    check_well(daemon)
