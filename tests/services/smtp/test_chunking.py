"""BDAT: counted content, whatever we answer. RFC 3030."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailbox_app.config.schema import Limits
from tests.support.smtp import Client, SmtpWorld, smtp_world

CONTENT = b"Subject: x\r\n\r\n.one\r\n.\r\ntwo\r\n"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmtpWorld]:
    async with smtp_world(tmp_path, config_limits=Limits(max_message_bytes=100_000)) as made:
        yield made


async def chunk(client: Client, data: bytes, last: bool = False) -> tuple[int, str]:
    await client.send(b"BDAT %d%b\r\n" % (len(data), b" LAST" if last else b"") + data)
    return await client.reply()


@pytest.mark.parametrize("cut", [0, 1, 11, 12, 13, 19, 20, len(CONTENT)])
async def test_chunks_make_one_message_wherever_they_are_cut_and_dots_are_no_ends(world: SmtpWorld, cut: int) -> None:
    client = await world.connect()
    await client.begin()
    assert (await chunk(client, CONTENT[:cut]))[0] == 250
    assert (await chunk(client, CONTENT[cut:], last=True))[0] == 250
    assert world.inbox("alice@example.org")[0].endswith(b"\r\n" + CONTENT)


async def test_a_whole_transaction_in_one_write(world: SmtpWorld) -> None:
    client = await world.connect()
    await client.send(
        b"MAIL FROM:<c@remote.example>\r\nRCPT TO:<alice@example.org>\r\n"
        b"BDAT %d\r\n%bBDAT 0 LAST\r\nQUIT\r\n" % (len(CONTENT), CONTENT)
    )
    assert [(await client.reply())[0] for _ in range(5)] == [250, 250, 250, 250, 221]


@pytest.mark.parametrize("bad", [b"a\nb\r\n", b"a\rb\r\n", b"a\0\r\n", b"end\r"])
async def test_bad_line_endings_are_refused(world: SmtpWorld, bad: bytes) -> None:
    client = await world.connect()
    await client.begin()
    assert (await chunk(client, bad, last=True))[0] == 554
    assert not world.inbox("alice@example.org")
    await client.begin()


async def test_octets_of_a_refused_chunk_are_no_commands(world: SmtpWorld) -> None:
    client = await world.connect()
    data = b"MAIL FROM:<evil@remote.example>\r\n" * 3
    assert (await chunk(client, data, last=True))[0] == 503
    await client.expect(250, "MAIL FROM:<c@remote.example>")
    assert (await chunk(client, data))[0] == 554
    assert (await chunk(client, data, last=True))[0] == 554
    await client.expect(250, "NOOP")
    await client.begin()


async def test_too_much_is_refused_and_stays_refused_until_the_end(world: SmtpWorld) -> None:
    client = await world.connect()
    await client.begin()
    assert (await chunk(client, b"x" * 60_000))[0] == 250
    assert (await chunk(client, b"x" * 60_000))[0] == 552
    assert (await chunk(client, b"x\r\n", last=True))[0] == 552
    await client.begin()
    assert (await chunk(client, CONTENT, last=True))[0] == 250


@pytest.mark.parametrize("argument", ["", "x", "-1", "5 NEXT", "1 LAST LAST", "9999999999999"])
async def test_a_count_that_cannot_be_understood_ends_the_session(world: SmtpWorld, argument: str) -> None:
    client = await world.connect()
    await client.begin()
    await client.expect(501, f"BDAT {argument}")
    assert await client.is_closed()


async def test_data_and_more_recipients_cannot_follow_bdat(world: SmtpWorld) -> None:
    client = await world.connect()
    await client.begin()
    assert (await chunk(client, b"Subject: x\r\n"))[0] == 250
    await client.expect(503, "RCPT TO:<bob@example.org>")
    await client.expect(503, "DATA")
    await client.expect(250, "RSET")
    await client.begin()
    assert (await chunk(client, CONTENT, last=True))[0] == 250
