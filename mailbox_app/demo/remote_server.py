"""A remote mail server on loopback that does as it is told: accept, refuse, greylist, be slow, lie, break off.

`Script` says what it does; everything received is kept in `messages`. One server may listen on several 127.0.0.x addresses with
the same port, as the MX of one domain do.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field

from mailbox_app.clock import Clock


@dataclass
class Received:
    """One message as it came, dots removed."""

    sender: str
    recipients: list[str]
    content: bytes
    tls: bool
    mail_parameters: str
    rcpt_parameters: list[str]


@dataclass
class Script:
    """What the server does. Replies are given without CRLF; None: the usual answer."""

    hostname: str = "mx.there.example"
    greeting: bytes = b"220 mx.there.example ready"
    extensions: Sequence[str] = ("PIPELINING", "SIZE 26214400", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN")
    ehlo: bytes | None = None
    tls: ssl.SSLContext | None = None
    inject_after_starttls: bytes = b""
    mail: bytes | None = None
    rcpt: dict[str, bytes] = field(default_factory=dict)
    greylist: bool = False
    """Each recipient is asked once to come back."""
    recipients_at_once: int = 1000
    """More get 452."""
    data: bytes | None = None
    final: bytes | None = None
    early: bytes | None = None
    """Sent as soon as the first part of the message arrives."""
    close_at: str = ""
    """connect, greeting, EHLO, STARTTLS, MAIL, RCPT, DATA, body or final: break off there without an answer."""
    close_once: bool = False
    """Then it never does so again."""
    null_at: str = ""
    """The same places: answer nothing, keep the connection open."""
    slow_seconds: float = 0.0
    """Before each answer, by the clock."""


class RemoteServer:
    """The server. `port` 0 takes a free one."""

    def __init__(self, script: Script | None = None, clock: Clock | None = None) -> None:
        self.script = script or Script()
        self.messages: list[Received] = []
        self.commands: list[str] = []
        self.connections = 0
        self.port = 0
        self._clock = clock
        self._known: set[str] = set()
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.received = asyncio.Event()

    async def start(self, port: int = 0, addresses: Sequence[str] = ("127.0.0.1",)) -> None:
        """Listen; every address gets the same port."""
        for address in addresses:
            server = await asyncio.start_server(self._accept, address, port or self.port, limit=1 << 20)
            self.port = int(server.sockets[0].getsockname()[1])
            self._servers.append(server)

    async def close(self) -> None:
        """Stop listening and break off every session."""
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> RemoteServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            await _Session(self, reader, writer).run()
        except (OSError, EOFError, _Closed, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()


_VERBS = frozenset({"EHLO", "HELO", "STARTTLS", "MAIL", "RCPT", "DATA", "RSET", "QUIT"})


class _Closed(Exception):
    pass


class _Session:
    def __init__(self, remote: RemoteServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._remote = remote
        self._script = remote.script
        self._reader = reader
        self._writer = writer
        self._tls = False
        self._envelope: Received | None = None

    async def run(self) -> None:
        await self._at("connect")
        await self._say(self._script.greeting, "greeting")
        while line := await self._reader.readuntil(b"\r\n"):
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            self._remote.commands.append(text)
            verb = text.split(" ")[0].upper()
            await self._at(verb)
            await (getattr(self, f"_{verb.lower()}") if verb in _VERBS else self._unknown)(text)

    async def _at(self, place: str) -> None:
        if not place:
            return
        if self._script.close_at == place:
            if self._script.close_once:
                self._script.close_at = ""
            raise _Closed
        if self._script.null_at == place:
            await asyncio.Event().wait()

    async def _say(self, reply: bytes, place: str = "") -> None:
        await self._at(place)
        if self._script.slow_seconds and self._remote._clock is not None:
            await self._remote._clock.sleep(self._script.slow_seconds)
        self._writer.write(reply + b"\r\n")
        await self._writer.drain()

    async def _unknown(self, text: str) -> None:
        await self._say(b"500 5.5.1 what?")

    async def _ehlo(self, text: str) -> None:
        if self._script.ehlo is not None:
            await self._say(self._script.ehlo)
            return
        words = list(self._script.extensions)
        if self._script.tls is not None and not self._tls:
            words.append("STARTTLS")
        lines = [self._script.hostname, *words]
        await self._say(
            "\r\n".join(
                f"250{'-' if number < len(lines) - 1 else ' '}{line}" for number, line in enumerate(lines)
            ).encode()
        )

    async def _helo(self, text: str) -> None:
        await self._say(b"250 hello")

    async def _starttls(self, text: str) -> None:
        assert self._script.tls is not None
        if self._script.inject_after_starttls:
            await self._say(b"220 go\r\n" + self._script.inject_after_starttls)
            return
        await self._say(b"220 go")
        await self._writer.start_tls(self._script.tls)
        self._tls = True

    async def _mail(self, text: str) -> None:
        path, _, parameters = text.partition(":")[2].partition("> ")
        self._envelope = Received(path.strip("<>"), [], b"", self._tls, parameters, [])
        await self._say(self._script.mail or b"250 2.1.0 ok")

    async def _rcpt(self, text: str) -> None:
        path, _, parameters = text.partition(":")[2].partition("> ")
        address = path.strip("<>")
        reply = self._script.rcpt.get(address)
        if reply is None and self._envelope is None:
            reply = b"503 5.5.1 MAIL first"
        elif reply is None and self._script.greylist and address not in self._remote._known:
            self._remote._known.add(address)
            reply = b"451 4.7.1 greylisted, come back"
        elif reply is None and self._envelope and len(self._envelope.recipients) >= self._script.recipients_at_once:
            reply = b"452 4.5.3 too many recipients"
        if reply is None and self._envelope is not None:
            self._envelope.recipients.append(address)
            self._envelope.rcpt_parameters.append(parameters)
        await self._say(reply or b"250 2.1.5 ok")

    async def _data(self, text: str) -> None:
        if self._envelope is None or not self._envelope.recipients:
            await self._say(b"554 5.5.1 no valid recipients")
            return
        if self._script.data is not None:
            await self._say(self._script.data)
            return
        await self._say(b"354 go on")
        await self._at("body")
        content = bytearray()
        while True:
            line = await self._reader.readuntil(b"\n")
            if self._script.early is not None:
                await self._say(self._script.early)
                raise _Closed
            if line == b".\r\n":
                break
            content += line[1:] if line.startswith(b".") else line
        self._envelope.content = bytes(content)
        await self._at("final")
        reply = self._script.final or b"250 2.0.0 taken"
        if reply.startswith(b"2"):
            self._remote.messages.append(self._envelope)
            self._remote.received.set()
        self._envelope = None
        await self._say(reply)

    async def _rset(self, text: str) -> None:
        self._envelope = None
        await self._say(b"250 ok")

    async def _quit(self, text: str) -> None:
        await self._say(b"221 bye")
        raise _Closed
