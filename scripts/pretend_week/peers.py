"""The other mail servers of the pretend week: each does what its plan says at that time."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Time = Callable[[], float]
Greeting = Callable[[float], bytes]
Answer = Callable[[float, str], bytes | None]
HOUR, DAY = 3600.0, 86_400.0
OK_GREETING = b"220 ready"


@dataclass(frozen=True, slots=True)
class Taken:
    """One message that a server took."""

    at: float
    sender: str
    recipients: Sequence[str]
    content: bytes
    parameters: str
    """Of MAIL and of all RCPT."""
    tls: bool


@dataclass
class Peer:
    """One server. Times are seconds since the week began."""

    host: str
    now: Time
    extensions: Sequence[str] = ("PIPELINING", "SIZE 26214400", "8BITMIME", "ENHANCEDSTATUSCODES")
    refuses_until: float = 0.0
    silent_until: float = 0.0
    greeting: Greeting = lambda _: OK_GREETING
    recipient: Answer = lambda *_: None
    """What it says to RCPT; None: yes."""
    thinks_seconds: float = 0.01
    """Before each answer."""
    stalls_at: str = ""
    """A command that it never answers."""
    tls: ssl.SSLContext | None = None
    taken: list[Taken] = field(default_factory=list)
    connections: int = 0

    def serve(self) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], object] | None:
        """For `Network.add`."""
        if self.now() < self.refuses_until:
            raise ConnectionRefusedError(111, "Connection refused")
        return None if self.now() < self.silent_until else self._session

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        session = Session(self, reader, writer)
        try:
            await session.run()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


class Session:
    """One connection."""

    def __init__(self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._peer = peer
        self._reader = reader
        self._writer = writer
        self._encrypted = False
        self._sender, self._parameters = "", ""
        self._recipients: list[str] = []

    async def run(self) -> None:
        """Until somebody leaves."""
        greeting = self._peer.greeting(self._peer.now())
        await self._say(greeting)
        if not greeting.startswith(b"220"):
            return
        while line := (await self._reader.readuntil(b"\r\n")).decode().rstrip("\r\n"):
            verb, _, rest = line.partition(" ")
            if verb == self._peer.stalls_at:
                await self._reader.read()  # until the other side leaves
                return
            if verb == "QUIT":
                await self._say(b"221 bye")
                return
            if verb == "STARTTLS":
                await self._say(b"220 go")
                assert self._peer.tls is not None
                await self._writer.start_tls(self._peer.tls)
                self._encrypted = True
            elif verb == "DATA":
                await self._data()
            else:
                await self._say(self._reply(verb, rest))

    def _reply(self, verb: str, rest: str) -> bytes:
        match verb:
            case "EHLO":
                words = [self._peer.host, *self._peer.extensions]
                if self._peer.tls is not None and not self._encrypted:
                    words.append("STARTTLS")
                return b"\r\n".join(
                    b"250%b%b" % (b" " if number + 1 == len(words) else b"-", word.encode())
                    for number, word in enumerate(words)
                )
            case "MAIL":
                path, _, self._parameters = rest.partition("> ")
                self._sender, self._recipients = path.partition("<")[2].rstrip(">"), []
                return b"250 2.1.0 ok"
            case "RCPT":
                path, _, parameters = rest.partition("> ")
                address = path.partition("<")[2].rstrip(">")
                refusal = self._peer.recipient(self._peer.now(), address)
                if refusal is None:
                    self._recipients.append(address)
                    self._parameters += f" {parameters}"
                return refusal or b"250 2.1.5 ok"
            case "RSET" | "NOOP":
                return b"250 2.0.0 ok"
        return b"500 5.5.1 what?"

    async def _data(self) -> None:
        if not self._recipients:
            await self._say(b"554 5.5.1 no valid recipients")
            return
        await self._say(b"354 go on")
        content = await self._reader.readuntil(b"\r\n.\r\n")
        self._peer.taken.append(
            Taken(self._peer.now(), self._sender, self._recipients, content, self._parameters, self._encrypted)
        )
        await self._say(b"250 2.0.0 taken")

    async def _say(self, reply: bytes) -> None:
        await asyncio.sleep(self._peer.thinks_seconds)
        self._writer.write(reply + b"\r\n")


def greylisting(seconds: float) -> Answer:
    """Who comes for the first time is to come back after so long."""
    seen: dict[str, float] = {}

    def answer(now: float, address: str) -> bytes | None:
        first = seen.setdefault(address, now)
        return None if now >= first + seconds else b"450 4.2.0 greylisted, come back in ten minutes"

    return answer


def limiting(most: int, seconds: float) -> Greeting:
    """So many connections within so many seconds, and no more."""
    latest: deque[float] = deque()

    def greeting(now: float) -> bytes:
        while latest and latest[0] <= now - seconds:
            latest.popleft()
        if len(latest) >= most:
            return b"421 4.7.0 too many connections from your address, slow down"
        latest.append(now)
        return OK_GREETING

    return greeting


def busy_until(end: float) -> Greeting:
    """Turns everybody away for some time."""
    return lambda now: b"421 4.3.2 too busy now" if now < end else OK_GREETING


def unknown(*addresses: str) -> Answer:
    """Nobody of these lives there."""
    return lambda _, address: b"550 5.1.1 no such user here" if address in addresses else None


def always(reply: bytes) -> Answer:
    """The same to everybody."""
    return lambda *_: reply
