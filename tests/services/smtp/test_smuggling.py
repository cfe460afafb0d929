"""Only CRLF.CRLF ends content, and nothing but CRLF ends a line: every variant of smuggling is refused whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.smtp import smtp_world

SMUGGLED = (
    b"MAIL FROM:<evil@remote.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\nevil\r\n.\r\n"
)
ENDS = [b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\r\n", b"\n\r\n", b"\0\r\n", b"\r\n\0"]
VARIANTS = [
    (before, dot, after)
    for before in ENDS
    for dot in (b".", b"..")
    for after in ENDS
    if (before, dot, after) != (b"\r\n", b"..", b"\r\n")
    and not (before.endswith(b"\r\n") and dot == b"." and after.startswith(b"\r\n"))
]


def test_there_are_many_variants() -> None:
    assert len(VARIANTS) >= 30


async def test_no_false_end_lets_a_second_message_in(tmp_path: Path) -> None:
    async with smtp_world(tmp_path) as world:
        for before, dot, after in VARIANTS:
            client = await world.connect()
            await client.begin()
            await client.expect(354, "DATA")
            await client.send(b"Subject: x\r\n\r\nhi" + before + dot + after + SMUGGLED + b"NOOP\r\nQUIT\r\n")
            code, text = await client.reply()
            assert code == 554, (before, dot, after)
            assert text.startswith("5.6.0 The message holds a "), (before, dot, after)
            # the stream is in step again: the next reply belongs to the next true command
            assert [(await client.reply())[0] for _ in range(2)] == [250, 221]
            client.close()
        assert not world.inbox("alice@example.org")
        assert not world.inbox("bob@example.org")
        assert world.service.connections == 0


@pytest.mark.parametrize(
    "line",
    [b"NOOP\n", b"NOOP\rRSET\r\n", b"NOOP\0\r\n", b"\rNOOP\r\n", b"NOOP\r\r\n", b"MAIL FROM:<a@b.example>\nRCPT\r\n"],
)
async def test_commands_with_other_line_ends_are_not_carried_out(tmp_path: Path, line: bytes) -> None:
    async with smtp_world(tmp_path) as world:
        client = await world.connect()
        await client.send(line)
        code, text = await client.reply()
        assert (code, text[:5]) == (500, "5.5.2")
        await client.send(b"RCPT TO:<alice@example.org>\r\n")
        assert (await client.reply())[0] in (500, 503)


async def test_content_behind_a_refused_data_is_never_read_as_commands(tmp_path: Path) -> None:
    async with smtp_world(tmp_path) as world:
        client = await world.connect()
        await client.send(b"DATA\r\n" + SMUGGLED)
        assert (await client.reply())[0] == 503
        assert await client.is_closed()
        assert not world.inbox("bob@example.org")


async def test_input_in_clear_behind_starttls_ends_the_session(tmp_path: Path) -> None:
    async with smtp_world(tmp_path) as world:
        for kind in ("smtp", "submission"):
            client = await world.connect(kind)
            await client.send(b"STARTTLS\r\nMAIL FROM:<evil@remote.example>\r\n")
            assert (await client.reply())[0] == 554
            assert await client.is_closed()
