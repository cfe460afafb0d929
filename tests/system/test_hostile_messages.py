"""Messages made to hurt whoever takes them apart: taken in by SMTP as they are, told over IMAP without harm."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator

import pytest

from tests.proto.imap_values import check_envelope, check_structure, read_value
from tests.support.daemon import Daemon
from tests.support.rough import ALICE, check_well, clean_daemon, noise

pytestmark = pytest.mark.system
SECONDS = float(os.environ.get("MAILBOX_HOSTILE_SECONDS", "4"))
SEED = int(os.environ.get("MAILBOX_HOSTILE_SEED", "1"))
MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
ITEMS = (
    "(UID FLAGS ENVELOPE BODYSTRUCTURE BODY BODY.PEEK[1.2.3] BODY.PEEK[1] BODY.PEEK[1.MIME]"
    " BODY.PEEK[HEADER.FIELDS (SUBJECT TO)] BODY.PEEK[TEXT]<0.50>)"
)


def nested(depth: int) -> bytes:
    """Each part holds the next multipart."""
    head = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(depth))
    return head + b"\r\ninnermost\r\n"


def message_in_message(depth: int) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" * depth + b"Subject: innermost\r\n\r\nhello\r\n"


MESSAGES = {
    "100,000 parts": MIXED + b"--b\r\n\r\nx\r\n" * 100_000 + b"--b--\r\n",
    "100,000 empty parts": MIXED + b"--b\r\n" * 100_000,
    "multiparts 10,000 deep": nested(10_000),
    "messages 10,000 deep": message_in_message(10_000),
    "one boundary 10,000 deep": (MIXED + b"--b\r\n") * 10_000,
    "a header line of a megabyte": b"Subject: " + b"x" * 240_000 + b"\r\n\r\nhello\r\n",
    "a folded header": b"Subject:" + b" x\r\n" * 60_000 + b"\r\nhello\r\n",
    "a header of names": b"X:\r\n" * 60_000 + b"\r\nhello\r\n",
    "no colons": b"no colon here\r\n" * 2_000 + b"\r\nhello\r\n",
    "no header": b"\r\nhello\r\n",
    "no body": b"Subject: x\r\n",
    "nothing": b"",
    "60,000 recipients": b"To: " + b"a@b,\r\n " * 30_000 + b"c@d\r\n\r\nhello\r\n",
    "addresses of parentheses": b"To: " + b"(" * 100_000 + b"\r\nCc: " + b"<" * 100_000 + b"\r\n\r\nhello\r\n",
    "addresses of quotes": b"From: " + b'"\\' * 100_000 + b"\r\n\r\nhello\r\n",
    "groups": b"To: " + b"g:" * 100_000 + b";" * 30_000 + b"\r\n\r\nhello\r\n",
    "encoded words": b"Subject: " + b"=?utf-8?q?=20?= " * 15_000 + b"\r\n\r\nhello\r\n",
    "parameters": b"Content-Type: text/plain" + b"; a=b" * 48_000 + b"\r\n\r\nhello\r\n",
    "parameter pieces": b"Content-Type: text/plain" + b"".join(b"; n*%d*=x" % n for n in range(16_000)) + b"\r\n\r\nhello\r\n",
    "a boundary of 100,000 bytes": b"Content-Type: multipart/mixed; boundary=" + b"b" * 100_000 + b"\r\n\r\n--b\r\n\r\nx\r\n",
    "an empty boundary": b'Content-Type: multipart/mixed; boundary=""\r\n\r\n--\r\n\r\nx\r\n----\r\n',
    "comments": b"Date: " + b"(" * 100_000 + b")" * 100_000 + b"\r\nMIME-Version: (" + b"\\" * 9_999 + b"\r\n\r\nhello\r\n",
    "references": b"References: " + b"<a@b> " * 40_000 + b"\r\nMessage-ID: <" + b"x" * 9_000 + b">\r\n\r\nhello\r\n",
    "high bytes": bytes(b for b in range(1, 256) if b not in b"\r\n") * 100 + b"\r\n\r\n" + bytes(range(128, 256)) * 100 + b"\r\n",
    "signatures": (b"DKIM-Signature: v=1; a=rsa-sha256; d=x; s=y; h=" + b"from:" * 4_000 + b"; bh=YQ==; b=YQ==\r\n") * 8
    + b"\r\nhello\r\n",
    "forged results": b"Authentication-Results: mail.example.org; " + b"x=y " * 9_000 + b"\r\n\r\nhello\r\n",
    "lines": b"Subject: x\r\n\r\n" + b"\r\n" * 1_000_000,
}  # fmt: skip


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    yield from clean_daemon(tmp_path_factory.mktemp("hostile"))


def deliver(daemon: Daemon, message: bytes) -> int:
    """The code of the reply to the content; it went in as it is, dots doubled."""
    with daemon.smtp() as client:
        client.ehlo()
        assert client.docmd("MAIL", "FROM:<x@example.net>")[0] == 250
        assert client.docmd("RCPT", f"TO:<{ALICE}>")[0] == 250
        assert client.docmd("DATA")[0] == 354
        client.send(re.sub(rb"(?m)^\.", b"..", message) + b".\r\n")
        return int(client.getreply()[0])


def read_newest(daemon: Daemon, message: bytes) -> None:
    """What IMAP tells is grammatical, and the stored bytes are the received ones below our trace."""
    with daemon.imap(ALICE) as session:
        session.select("INBOX")
        began = time.monotonic()
        status, rows = session.fetch("*", ITEMS)
        assert status == "OK"
        assert rows[0] is not None
        assert time.monotonic() - began < 10
        session.send(b"q FETCH * (ENVELOPE BODYSTRUCTURE)\r\n")
        line = b""
        while not line.endswith(b"q OK FETCH done\r\n"):
            piece = session.readline()
            assert piece
            line += piece
        values = re.match(rb"\* \d+ FETCH \(ENVELOPE (\(.*\)) BODYSTRUCTURE (\(.*\))\)\r\nq OK", line, re.DOTALL)
        assert values is not None, line[:300]
        check_envelope(read_value(values[1]))
        if len(values[2]) < 1_000_000:
            check_structure(read_value(values[2]), extended=True)
        _, rows = session.fetch("*", "(BODY.PEEK[])")
        whole = rows[0][1]
        if b"authentication-results" not in message.lower():
            assert whole.endswith(message)


@pytest.mark.parametrize("kind", MESSAGES)
def test_each_kind_of_monster_is_stored_as_it_is_or_refused(daemon: Daemon, kind: str) -> None:
    message = MESSAGES[kind]
    began = time.monotonic()
    code = deliver(daemon, message)
    assert time.monotonic() - began < 15
    assert code in {250, 552, 554}, code
    if code == 250:
        read_newest(daemon, message)


def test_many_monsters_hold_up_nobody(daemon: Daemon) -> None:
    check_well(daemon)


def test_random_messages(daemon: Daemon) -> None:
    chance, end = random.Random(SEED), time.monotonic() + SECONDS
    seeds = [each[:3_000] for each in MESSAGES.values()] + [nested(20), message_in_message(20)]
    while time.monotonic() < end:
        message = noise(chance, b"".join(chance.choice(seeds) for _ in range(chance.randint(1, 3))))
        message = re.sub(rb"\r\n|[\r\n\0]", b"\r\n", message) + b"\r\n"
        if deliver(daemon, message) == 250:
            read_newest(daemon, message)
    check_well(daemon)
