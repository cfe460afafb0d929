"""STARTTLS: nothing said in clear counts once TLS is on, in no protocol and in neither direction.

As the server: commands sent in clear behind STARTTLS (in the same packet, in the next one, as half a line, right before the
client's handshake) are never obeyed, and what a session learnt in clear is forgotten. As the client: replies sent in clear
behind the answer to STARTTLS end the attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailbox_app.clock import SystemClock
from mailbox_app.config.schema import Delivery
from mailbox_app.db.offload import Offload
from mailbox_app.outbound.transport import SmtpTransport
from tests.outbound.conftest import make_lease as make_lease
from tests.support.dns import FakeResolver
from tests.support.imap_server import imap_server
from tests.support.managesieve_server import managesieve_server
from tests.support.outbound_tls import outbound_tls
from tests.support.pop3_server import pop3_server
from tests.support.smtp import insecure_context, smtp_world

WAIT_SECONDS = 10


@dataclass(frozen=True)
class Door:
    """How one protocol changes to TLS."""

    hello: bytes
    """Said first, in clear."""
    starttls: bytes
    injected: bytes
    """A command whose answer would hold `mark`."""
    mark: bytes
    asked: bytes
    """The first true command under TLS..."""
    answered: bytes
    """... and how its answer begins."""


DOORS = {
    "smtp": Door(b"EHLO x\r\n", b"STARTTLS\r\n", b"EHLO in.jected\r\nHELP\r\n", b"214 ", b"QUIT\r\n", b"221 "),
    "submission": Door(b"EHLO x\r\n", b"STARTTLS\r\n", b"HELP\r\n", b"214 ", b"QUIT\r\n", b"221 "),
    "lmtp": Door(b"LHLO x\r\n", b"STARTTLS\r\n", b"HELP\r\n", b"214 ", b"QUIT\r\n", b"221 "),
    "imap": Door(b"", b"a STARTTLS\r\n", b"mark NOOP\r\n", b"mark ", b"z LOGOUT\r\n", b"* BYE"),
    "pop3": Door(b"", b"STLS\r\n", b"LANG\r\n", b"i-default", b"QUIT\r\n", b"+OK"),
    "managesieve": Door(b"", b"STARTTLS\r\n", b'NOOP "mark"\r\n', b'TAG "mark"', b"LOGOUT\r\n", b'"IMPL'),
}
CUTS = {
    "same packet": lambda door: [door.starttls + door.injected],
    "next packet": lambda door: [door.starttls, door.injected],
    "half a line": lambda door: [door.starttls + door.injected[:3]],
    "only a line end": lambda door: [door.starttls + b"\r\n"],
    "bare line feed": lambda door: [door.starttls.replace(b"\r\n", b"\n") + door.injected],
    "command cut in two": lambda door: [door.starttls[:4], door.starttls[4:] + door.injected],
    "many": lambda door: [door.starttls + door.injected * 500],
}


@asynccontextmanager
async def served(name: str, folder: Path) -> AsyncIterator[int]:
    if name in ("smtp", "submission", "lmtp"):
        async with smtp_world(folder) as world:
            yield world.ports[name]
    elif name == "imap":
        async with imap_server(folder) as imap:
            yield imap.port
    elif name == "pop3":
        async with pop3_server(folder) as pop3:
            yield pop3.port
    else:
        async with managesieve_server(folder) as managesieve:
            yield managesieve.port


class Attacker:
    """Sits on the wire in clear, then lets the handshake through."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.heard = b""

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0)

    async def hear(self) -> bool:
        """Whether anything came; False at the end."""
        try:
            data = await asyncio.wait_for(self.reader.read(65_536), WAIT_SECONDS)
        except OSError:
            return False
        self.heard += data
        return bool(data)

    async def hear_all(self) -> None:
        while await self.hear():
            pass


async def attacked(door: Door, port: int, pieces: list[bytes]) -> bytes:
    """Everything the server said after the attack, in clear and under TLS."""
    attacker = Attacker(*await asyncio.open_connection("127.0.0.1", port))
    try:
        await attacker.hear()
        if door.hello:
            await attacker.say(door.hello)
            await attacker.hear()
        attacker.heard = b""
        try:
            for piece in pieces:
                await attacker.say(piece)
            await attacker.hear()
            await asyncio.wait_for(attacker.writer.start_tls(insecure_context()), WAIT_SECONDS)
            await attacker.say(door.asked)
        except (OSError, EOFError):  # the server left, as it should
            return attacker.heard
        await attacker.hear_all()
        return attacker.heard
    finally:
        attacker.writer.close()


@pytest.mark.parametrize("name", DOORS)
async def test_commands_injected_in_clear_are_never_obeyed(name: str, tmp_path: Path) -> None:
    door, rows = DOORS[name], []
    async with served(name, tmp_path) as port:
        clean = await attacked(door, port, [door.starttls])
        assert door.answered in clean  # without an attack all is well
        for cut, pieces in CUTS.items():
            if cut == "bare line feed" and name in ("smtp", "submission", "lmtp"):
                continue  # is no STARTTLS there, so what follows is no injection
            heard = await attacked(door, port, pieces(door))
            assert door.mark not in heard, (cut, heard)
            assert door.answered not in heard.partition(b"\n")[2], (cut, heard)  # the session did not go on
            rows.append(f"{name:<13}{cut:<20}refused")
    print("\n" + "\n".join(rows))  # noqa: T201 - pytest -s shows it


async def test_what_was_learnt_in_clear_is_forgotten(tmp_path: Path) -> None:
    async with smtp_world(tmp_path) as world:
        client = await world.connect("smtp")
        await client.expect(250, "MAIL FROM:<evil@remote.example>")
        await client.expect(250, "RCPT TO:<alice@example.org>")
        await client.starttls()
        await client.expect(503, "DATA")
        await client.expect(503, "MAIL FROM:<a@remote.example>")
        await client.expect(250, "EHLO x")
        await client.expect(503, "RCPT TO:<alice@example.org>")


REPLIES = {
    "a reply to EHLO": b"220 go\r\n250 mx.evil.example\r\n",
    "several replies": b"220 go\r\n250 a\r\n250 b\r\n250 c\r\n",
    "half a reply": b"220 go\r\n25",
    "an empty line": b"220 go\r\n\r\n",
    "bare line feed": b"220 go\n250 mx.evil.example\n",
    "one byte": b"220 go\r\nx",
    "in a long answer": b"220-go\r\n220 on\r\n250 mx.evil.example\r\n",
    "refused, then a reply": b"454 no\r\n250 mx.evil.example\r\n",
}


@pytest.mark.parametrize("name", REPLIES)
async def test_replies_injected_in_clear_end_the_attempt(name: str, tmp_path: Path, make_lease) -> None:  # type: ignore[no-untyped-def]
    """The remote server never sees an envelope, in clear or otherwise."""
    said: list[bytes] = []

    async def remote(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx.there.example\r\n")
        while line := await reader.readline():
            said.append(line)
            if line.startswith(b"EHLO"):
                writer.write(b"250-mx.there.example\r\n250-PIPELINING\r\n250 STARTTLS\r\n")
            elif line.startswith(b"STARTTLS"):
                writer.write(REPLIES[name])
            else:
                writer.write(b"250 ok\r\n")
        writer.close()

    server = await asyncio.start_server(remote, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    answers = {("there.example", "MX"): ["10 mx.there.example."], ("mx.there.example", "A"): ["127.0.0.1"]}
    offload = Offload(2)
    resolver, config = FakeResolver(answers), Delivery(port=port, allow_private_addresses=True)
    tls = outbound_tls(resolver, tmp_path, config, offload, SystemClock())
    transport = SmtpTransport(
        resolver, hostname="here.example", config=config, offload=offload, clock=SystemClock(), tls=tls
    )
    try:
        [outcome] = await asyncio.wait_for(transport.deliver(make_lease()), 30)
    finally:
        server.close()
        offload.close()
    assert outcome.code // 100 == 4
    assert not [line for line in said if line.upper().startswith((b"MAIL", b"RCPT", b"DATA"))]
