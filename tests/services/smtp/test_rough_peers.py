"""Peers that talk nonsense, vanish, or do not listen: the service neither fails, nor leaks, nor lets anything through."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from pathlib import Path

import pytest

from mailbox_app.services.smtp.limits import SmtpLimits
from tests.support.smtp import Client, SmtpWorld, smtp_world

WORDS = [
    b"EHLO a", b"HELO b", b"MAIL FROM:<c@remote.example>", b"MAIL FROM:<>", b"RCPT TO:<alice@example.org>",
    b"RCPT TO:<x@y.example>", b"DATA", b"BDAT 5", b"BDAT 0 LAST", b"RSET", b"NOOP", b"VRFY a", b"HELP", b"AUTH PLAIN",
    b"AUTH LOGIN YQ==", b"*", b".", b"Subject: x", b"", b"\xff\xfe", b"a\0b", b"SIZE=5 BODY=8BITMIME", b"<" * 300,
    b"MAIL FROM:<" + b"\xc3\xa4" * 200 + b"@x> SMTPUTF8",
]  # fmt: skip
ENDS = [b"\r\n"] * 12 + [b"\n", b"\r", b"", b"\r\r\n", b"\n\r", b" \r\n"]


@pytest.mark.parametrize("kind", ["smtp", "submissions"])
async def test_nonsense_is_answered_and_never_an_error_of_ours(tmp_path: Path, kind: str) -> None:
    chance = random.Random(7)
    async with smtp_world(tmp_path, limits=SmtpLimits(errors=1_000, login_delay_seconds=0)) as world:
        for _ in range(150 if kind == "smtp" else 30):
            client = await world.connect(kind, hello="")
            words = chance.choices(WORDS, k=chance.randint(1, 25))
            script = b"".join(word + chance.choice(ENDS) for word in words)
            while script and not client.reader.at_eof():
                cut = chance.randint(1, 80)
                await _send_some(client, script[:cut])
                script = script[cut:]
            client.close()
        client = await world.connect(kind)
        await client.expect(221, "QUIT")
        await _gone(world)
        assert world.metrics.errors._value.get() == 0
        assert not world.queued()


async def _send_some(client: Client, data: bytes) -> None:
    if not client.writer.transport.is_closing():
        with contextlib.suppress(ConnectionError):
            await client.send(data)
        await asyncio.sleep(0)


async def _gone(world: SmtpWorld) -> None:
    await world.service.drain(10)
    assert world.service.connections == 0


@pytest.mark.parametrize("size", [100, 2_000_000])
async def test_a_peer_that_vanishes_inside_a_message_leaves_nothing(tmp_path: Path, size: int) -> None:
    async with smtp_world(tmp_path) as world:
        for _ in range(5):
            client = await world.connect()
            await client.begin()
            await client.expect(354, "DATA")
            await client.send(b"x" * size)
            client.writer.transport.abort()
        await _gone(world)
        assert not world.inbox("alice@example.org")
        assert world.service._budget.held_bytes == 0
        assert not list((tmp_path / "tmp").iterdir())


async def test_a_peer_that_never_reads_is_cut_off(tmp_path: Path) -> None:
    limits = SmtpLimits(command_seconds=0.05, idle_commands=1_000_000)
    async with smtp_world(tmp_path, limits=limits) as world:
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", world.ports["smtp"]))
            with pytest.raises(OSError):  # noqa: PT012 - reset, sooner or later
                while True:
                    await asyncio.wait_for(loop.sock_sendall(sock, b"EHLO a\r\n" * 10_000), 10)
        await _gone(world)
