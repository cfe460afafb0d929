"""Runs `*.dialog` scripts: conversations with a line-based server over real sockets.

Each line of a script starts with what it does; the word after C or S names the connection, so `C2:` speaks on another one
than `C:`. A connection is opened by its first line. `${name}` is replaced by a value captured earlier.

    # a comment
    C: a NOOP                 send the line and CRLF
    C= a NOOP\\r\\nb NOOP\\r\\n  send exactly these bytes, with Python's escapes, in one write
    C{ a APPEND INBOX         send the line with a literal made of the lines that follow, without a wait
    | Subject: x              one line of it
    S: a OK NOOP done         the next line must be exactly this
    S~ a OK .*                the next line must match this regular expression; (?P<name>...) captures
    S> b OK .*                skip lines until one matches
    S$                        the server must close the connection
    C! tls                    start TLS now
    @ word arguments          call the hook of that name
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

LINE = re.compile(r"(?P<who>[CS@])(?P<name>\w*)(?P<how>[:=~>$!{]?)(?: (?P<text>.*))?$")
WAIT_SECONDS = 10.0
Hook = Callable[[str], Awaitable[None]]


class DialogFailed(AssertionError):
    """The server said something else."""


class Peer:
    """One connection of a script."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def line(self) -> str:
        async with asyncio.timeout(WAIT_SECONDS):
            data = await self._reader.readline()
        if not data:
            raise DialogFailed("the server closed the connection")
        return data.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "replace")

    async def at_end(self) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            try:
                data = await self._reader.read(1000)
            except ConnectionError:
                return
        if data:
            raise DialogFailed(f"the end expected, got {data!r}")

    async def start_tls(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        await self._writer.start_tls(context)

    def close(self) -> None:
        self._writer.close()


class Dialog:
    """One script."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = path.read_text("utf-8").splitlines()
        self.requires_tls = "# require_tls" in self._lines
        self._values: dict[str, str] = {}

    async def run(self, port: int, hooks: Mapping[str, Hook] | None = None) -> None:
        """Speak it with the server on this port of 127.0.0.1."""
        peers: dict[str, Peer] = {}
        try:
            for number, line in enumerate(self._lines, 1):
                if not line.strip() or line.startswith(("#", "|")):
                    continue
                try:
                    await self._step(line, peers, port, hooks or {}, number)
                except (DialogFailed, TimeoutError, OSError) as error:
                    raise DialogFailed(f"{self.path.name}:{number}: {line}\n    {error or 'no answer'}") from error
        finally:
            for peer in peers.values():
                peer.close()

    async def _step(self, line: str, peers: dict[str, Peer], port: int, hooks: Mapping[str, Hook], number: int) -> None:
        match = LINE.match(line)
        if match is None:
            raise DialogFailed("not a line of a dialog")
        who, name, how = match["who"], match["name"], match["how"]
        text = re.sub(r"\$\{(\w+)\}", lambda found: self._values[found[1]], match["text"] or "")
        if who == "@":
            word, _, rest = text.partition(" ")
            await hooks[word](rest)
            return
        if name not in peers:
            peers[name] = Peer(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))
        peer = peers[name]
        match who + how:
            case "C:":
                await peer.send(text.encode() + b"\r\n")
            case "C=":
                await peer.send(text.encode("latin-1").decode("unicode_escape").encode("latin-1"))
            case "C{":
                await peer.send(self._with_literal(text.encode(), number))
            case "C!":
                await peer.start_tls()
            case "S$":
                await peer.at_end()
            case "S:":
                said = await peer.line()
                if said != text:
                    raise DialogFailed(f"got: {said}")
            case "S~":
                self._match(text, await peer.line())
            case "S>":
                skipped = []
                while not re.fullmatch(text, said := await peer.line()):
                    skipped.append(said)
                    if len(skipped) > 10_000:
                        raise DialogFailed("never said")
                self._match(text, said)
            case _:
                raise DialogFailed("not a line of a dialog")

    def _with_literal(self, command: bytes, number: int) -> bytes:
        literal = b""
        for line in self._lines[number:]:
            if not line.startswith("|"):
                break
            literal += line[2:].encode() + b"\r\n"
        return b"%b {%d+}\r\n%b\r\n" % (command, len(literal), literal)

    def _match(self, pattern: str, said: str) -> None:
        found = re.fullmatch(pattern, said)
        if found is None:
            raise DialogFailed(f"got: {said}")
        self._values.update(found.groupdict())
