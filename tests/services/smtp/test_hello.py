"""Greeting, EHLO, STARTTLS, order of commands, the small ones."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.smtp import HOSTNAME, PASSWORDS, SmtpWorld, plain, smtp_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmtpWorld]:
    async with smtp_world(tmp_path) as made:
        yield made


COMMON = [
    "PIPELINING",
    "SIZE 26214400",
    "8BITMIME",
    "SMTPUTF8",
    "ENHANCEDSTATUSCODES",
    "CHUNKING",
    "DSN",
    "LIMITS RCPTMAX=100 MAILMAX=1000",
]


@pytest.mark.parametrize(
    ("kind", "tls", "more"),
    [
        ("smtp", False, ["STARTTLS", "HELP"]),
        ("smtp", True, ["REQUIRETLS", "HELP"]),
        ("submission", False, ["STARTTLS", "HELP"]),
        ("submission", True, ["REQUIRETLS", "AUTH PLAIN LOGIN", "HELP"]),
        ("submissions", False, ["REQUIRETLS", "AUTH PLAIN LOGIN", "HELP"]),
    ],
)
async def test_ehlo_tells_what_there_is(world: SmtpWorld, kind: str, tls: bool, more: list[str]) -> None:
    client = await world.connect(kind, hello="")
    if tls:
        await client.starttls()
    text = await client.expect(250, "EHLO client.example")
    lines = text.split("\n")
    assert [line for line in lines if not line.startswith("FUTURERELEASE ")] == [HOSTNAME, *COMMON, *more]
    assert (len(lines) > len(COMMON) + len(more) + 1) == kind.startswith("submission")  # RFC 4865


async def test_starttls_forgets_all_that_was_said_before(world: SmtpWorld) -> None:
    client = await world.connect()
    await client.begin()
    await client.starttls()
    await client.expect(503, "RCPT TO:<alice@example.org>")
    await client.expect(503, "MAIL FROM:<c@remote.example>")
    await client.expect(250, "EHLO again.example")
    await client.expect(503, "STARTTLS")
    await client.begin()
    assert (await client.content(b"Subject: x\r\n\r\nx\r\n"))[0] == 250
    (stored,) = world.inbox("alice@example.org")
    assert b"from again.example (" in stored
    assert b"with ESMTPS id" in stored
    assert b"(TLSv1.3 TLS_" in stored


REPLIES = [
    ("", 500, "5.5.1"),
    ("FOO", 500, "5.5.1"),
    ("EHLO", 501, "5.5.4"),
    ("EHLO a b", 501, "5.5.4"),
    ("HELO (evil)", 501, "5.5.4"),
    ("MAIL FROM:<c@remote.example> " + "x" * 1_200, 500, "5.5.2"),
    ("RCPT TO:<alice@example.org>", 503, "5.5.1"),
    ("DATA", 503, "5.5.1"),
    ("AUTH PLAIN", 502, "5.5.1"),
    ("STARTTLS now", 501, "5.5.4"),
    ("VRFY alice@example.org", 252, "2.1.5"),
    ("VRFY", 501, "5.5.4"),
    ("EXPN team@example.org", 502, "5.5.1"),
    ("NOOP whatever", 250, "2.0.0"),
    ("RSET", 250, "2.0.0"),
    ("RSET x", 501, "5.5.4"),
    ("HELP", 214, "2.0.0"),
    ("noop", 250, "2.0.0"),
    ("X" * 13_000, 500, "5.5.6"),
]


async def test_every_reply_has_an_enhanced_code(world: SmtpWorld) -> None:
    for line, code, enhanced in REPLIES:
        client = await world.connect()
        assert (await client.expect(code, line)).startswith(enhanced + " "), line
        await client.expect(250, "NOOP")


async def test_mail_needs_a_hello_first(world: SmtpWorld) -> None:
    client = await world.connect(hello="")
    for line in ("MAIL FROM:<a@b.example>", "RCPT TO:<alice@example.org>", "DATA", "BDAT 0 LAST"):
        await client.expect(503, line)


async def test_order_of_commands(world: SmtpWorld) -> None:
    client = await world.connect()
    await client.expect(250, "MAIL FROM:<a@remote.example>")
    await client.expect(503, "MAIL FROM:<a@remote.example>")
    await client.expect(554, "DATA")
    await client.expect(250, "RCPT TO:<alice@example.org>")
    await client.expect(501, "DATA now")
    await client.expect(250, "EHLO client.example")
    await client.expect(503, "RCPT TO:<alice@example.org>")


async def test_helo_sessions_are_plain_smtp(world: SmtpWorld) -> None:
    client = await world.connect(hello="HELO old.example")
    await client.begin()
    assert (await client.content(b"Subject: x\r\n\r\nx\r\n"))[0] == 250
    assert b"with SMTP id" in world.inbox("alice@example.org")[0]


async def test_quit_says_goodbye_and_closes(world: SmtpWorld) -> None:
    client = await world.connect()
    await client.expect(221, "QUIT")
    assert await client.is_closed()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("kind", ["submission", "submissions"])
async def test_every_way_to_log_in(world: SmtpWorld, kind: str) -> None:
    address, password = "alice@example.org", PASSWORDS["alice@example.org"]
    for script in (
        [(235, "AUTH PLAIN " + plain(address, password))],
        [(235, "auth plain " + plain(address, password, acts_for=address))],
        [(334, "AUTH PLAIN"), (235, plain(address, password))],
        [(334, "AUTH LOGIN"), (334, encoded(address)), (235, encoded(password))],
        [(334, "AUTH LOGIN " + encoded(address)), (235, encoded(password))],
    ):
        client = await world.connect(kind)
        if kind == "submission":
            await client.starttls()
            await client.expect(250, "EHLO client.example")
        for code, line in script:
            await client.expect(code, line)
        await client.expect(503, "AUTH PLAIN " + plain(address, password))
        await client.expect(250, f"MAIL FROM:<{address}>")
        client.close()
    assert set(world.authenticator.attempts) == {(address, kind, "127.0.0.1")}


FAILED_LOGINS: list[tuple[list[tuple[int, str]], str]] = [
    ([(334, "AUTH PLAIN"), (501, "*")], "5.7.0"),
    ([(334, "AUTH LOGIN"), (334, "YQ=="), (501, "*")], "5.7.0"),
    ([(501, "AUTH PLAIN ====x")], "5.5.2"),
    ([(334, "AUTH PLAIN"), (501, "not base64!")], "5.5.2"),
    ([(501, "AUTH PLAIN " + encoded("no nul"))], "5.5.2"),
    ([(501, "AUTH PLAIN =")], "5.5.2"),
    ([(504, "AUTH CRAM-MD5")], "5.5.4"),
    ([(504, "AUTH")], "5.5.4"),
    ([(535, "AUTH PLAIN " + plain("alice@example.org", "wrong"))], "5.7.8"),
    ([(535, "AUTH PLAIN " + plain("nobody@example.org", "wrong"))], "5.7.8"),
    ([(535, "AUTH PLAIN " + plain("alice@example.org", "wonder land", "bob@example.org"))], "5.7.8"),
    ([(535, "AUTH PLAIN " + base64.b64encode(b"\0\xff\xfe\0x").decode())], "5.7.8"),
]


async def test_logins_that_fail(world: SmtpWorld) -> None:
    for script, enhanced in FAILED_LOGINS:
        client = await world.connect("submissions")
        for code, line in script:
            text = await client.expect(code, line)
        assert text.startswith(enhanced + " "), script
        await client.expect(530, "MAIL FROM:<alice@example.org>")


async def test_long_auth_lines_are_read(world: SmtpWorld) -> None:
    client = await world.connect("submissions")
    await client.expect(535, "AUTH PLAIN " + plain("alice@example.org", "x" * 9_000))
    await client.expect(334, "AUTH PLAIN")
    await client.expect(535, plain("alice@example.org", "x" * 9_000))


async def test_three_failed_logins_end_the_session(world: SmtpWorld) -> None:
    client = await world.connect("submissions")
    for _ in range(3):
        await client.expect(535, "AUTH PLAIN " + plain("alice@example.org", "wrong"))
    assert (await client.reply())[0] == 421
    assert await client.is_closed()
