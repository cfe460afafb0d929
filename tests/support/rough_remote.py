"""A mail server on loopback whose sessions are functions: for logins, BDAT and every kind of bad behaviour.

A session reads lines and writes whatever it likes; `polite` is a whole dialogue with hooks, the rest of the wickedness is
written out in the tests.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from mailbox_app.net.channel import TlsChannel
from mailbox_app.proto.sasl.mechanism import Challenge, ProofClaim
from mailbox_app.proto.sasl.scram import Scram
from mailbox_app.proto.sasl.scram_keys import derive

Session = Callable[["Peer"], Awaitable[None]]


class Peer:
    """One connection as the server sees it."""

    def __init__(self, remote: RoughRemote, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.remote = remote
        self.reader = reader
        self.writer = writer

    async def say(self, *lines: bytes) -> None:
        self.writer.write(b"".join(line + b"\r\n" for line in lines))
        await self.writer.drain()

    async def hear(self) -> bytes:
        line = (await self.reader.readuntil(b"\r\n"))[:-2]
        self.remote.heard.append(line)
        return line

    async def over_to_tls(self, context: ssl.SSLContext) -> None:
        await self.writer.start_tls(context)

    def reset(self) -> None:
        """RST."""
        self.writer.transport.abort()

    @property
    def channel(self) -> TlsChannel:
        return TlsChannel.of(self.writer.transport)


class RoughRemote:
    """The server; `session` may be changed at any time and holds for the next connection."""

    def __init__(self, session: Session, tls: ssl.SSLContext | None = None) -> None:
        self.session = session
        self.tls = tls
        self.heard: list[bytes] = []
        self.connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> RoughRemote:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self.tls, limit=1 << 24)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            await self.session(Peer(self, reader, writer))
        except (OSError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()


@dataclass
class Polite:
    """A dialogue as it should be, for use as a session."""

    extensions: Sequence[str] = ()
    starttls: ssl.SSLContext | None = None
    passwords: dict[str, str] = field(default_factory=dict)
    refusal: bytes = b"535 5.7.8 wrong name or password"
    messages: list[tuple[str, list[str], bytes]] = field(default_factory=list)
    """(MAIL line, RCPT lines, content)"""
    logins: list[str] = field(default_factory=list)
    per_connection: int = 1000

    async def __call__(self, peer: Peer) -> None:
        await peer.say(b"220 rough")
        encrypted, taken = peer.channel.is_tls, 0
        mail, rcpt, content = "", [], b""
        while True:
            line = (await peer.hear()).decode()
            verb = line.split(" ")[0].upper()
            if verb == "EHLO":
                words = [*self.extensions, *(["STARTTLS"] if self.starttls and not encrypted else [])]
                lines = ["rough", *words]
                await peer.say(*(f"250{' ' if each is lines[-1] else '-'}{each}".encode() for each in lines))
            elif verb == "STARTTLS" and self.starttls is not None:
                await peer.say(b"220 go")
                await peer.over_to_tls(self.starttls)
                encrypted = True
            elif verb == "AUTH":
                await peer.say(await self._login(peer, line))
            elif verb == "MAIL":
                mail, rcpt, content = line, [], b""
                await peer.say(b"250 ok" if taken < self.per_connection else b"421 enough")
            elif verb == "RCPT":
                rcpt.append(line)
                await peer.say(b"250 ok")
            elif verb == "DATA":
                await peer.say(b"354 go")
                content = await peer.reader.readuntil(b"\r\n.\r\n")
                self.messages.append((mail, rcpt, content[:-3]))
                taken += 1
                await peer.say(b"250 taken")
            elif verb == "BDAT":
                content += await peer.reader.readexactly(int(line.split(" ")[1]))
                if line.endswith(" LAST"):
                    self.messages.append((mail, rcpt, content))
                    taken += 1
                await peer.say(b"250 got it")
            elif verb == "QUIT":
                await peer.say(b"221 bye")
                return
            else:
                await peer.say(b"250 ok")

    async def _login(self, peer: Peer, line: str) -> bytes:
        _, mechanism, *rest = line.split(" ")
        initial = base64.b64decode(rest[0]) if rest else None

        async def ask(challenge: bytes) -> bytes:
            await peer.say(b"334 " + base64.b64encode(challenge))
            return base64.b64decode(await peer.hear())

        if mechanism == "PLAIN":
            _, user, password = ((await ask(b"")) if initial is None else initial).split(b"\0")
            return self._answer(mechanism, self.passwords.get(user.decode()) == password.decode())
        if mechanism == "LOGIN":
            user, password = await ask(b"User Name"), await ask(b"Password")
            return self._answer(mechanism, self.passwords.get(user.decode()) == password.decode())
        plus, hash_name = mechanism.endswith("-PLUS"), "sha256" if "256" in mechanism else "sha1"
        scram = Scram(
            hash_name,
            lambda user, _: derive(hash_name, self.passwords.get(user, "-").encode(), b"salt", 16),
            peer.channel,
            plus=plus,
            plus_is_offered=any("-PLUS" in each for each in self.extensions),
        )
        first = scram.step(initial if initial is not None else await ask(b""))
        assert isinstance(first, Challenge)
        claim = scram.step(await ask(first.data))
        assert isinstance(claim, ProofClaim)
        if not claim.right:
            return self.refusal
        await ask(claim.final)
        return self._answer(mechanism, True)

    def _answer(self, mechanism: str, right: bool) -> bytes:
        if right:
            self.logins.append(mechanism)
        return b"235 2.7.0 welcome" if right else self.refusal
