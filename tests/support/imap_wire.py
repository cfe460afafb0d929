"""One IMAP connection of a test client: bytes to answers, TLS, literals, COMPRESS. It judges nothing."""

from __future__ import annotations

import asyncio
import re
import ssl
import zlib
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from tests.support.daemon import untrusting

SECONDS = 60.0
_ATOM = re.compile(rb'[^\s()"\[\]{]+(?:\[[^\]]*\](?:<\d+>)?)?')
_LITERAL = re.compile(rb"~?\{(\d+)\+?\}\r\n")
_LITERAL_END = re.compile(rb"\{(\d+)\}\r\n$")
_CODE = re.compile(r"\[([A-Z0-9=-]+)(?: ([^\]]*))?\]")
Value = Any
"""bytes for strings, str for atoms, None for NIL, lists of these."""


@dataclass(slots=True)
class Answer:
    """One line with its literals, taken apart."""

    tag: str
    """`*`, `+`, or a command's."""
    word: str
    """What it is, in upper case: OK, FETCH, EXISTS, ..."""
    number: int = 0
    """Before FETCH, EXISTS and the like."""
    values: list[Value] = field(default_factory=list)
    code: str = ""
    code_text: str = ""
    raw: bytes = b""


class Gone(ConnectionError):
    """The connection ended."""


class Wire:
    """A connection; `log` has its last lines in both directions."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._buffer = bytearray()
        self._deflate: Any = None
        self._inflate: Any = None
        self.log: deque[bytes] = deque(maxlen=60)

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=_TLS, limit=1 << 20)

    def compress(self) -> None:
        """Both directions from here on."""
        self._deflate = zlib.compressobj(wbits=-15)
        self._inflate = zlib.decompressobj(wbits=-15)
        if self._buffer:
            rest, self._buffer = bytes(self._buffer), bytearray()
            self._buffer += self._inflate.decompress(rest)

    async def send(self, data: bytes) -> None:
        self.log.append(b"C: " + data[:300])
        if self._deflate is not None:
            data = self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        try:
            self._writer.write(data)
            await self._writer.drain()
        except (OSError, ssl.SSLError) as error:
            raise Gone(str(error)) from error

    async def answer(self) -> Answer:
        """The next one."""
        raw = await self._line()
        while (literal := _LITERAL_END.search(raw)) is not None:
            raw += await self._exactly(int(literal[1]))
            raw += await self._line()
        self.log.append(b"S: " + raw[:300])
        return parse(raw)

    def cut(self) -> None:
        """Without a word."""
        self._writer.transport.abort()

    async def _more(self) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                data = await self._reader.read(1 << 16)
        except (OSError, ssl.SSLError) as error:
            raise Gone(str(error)) from error
        if not data:
            raise Gone("the server hung up")
        self._buffer += data if self._inflate is None else self._inflate.decompress(data)

    async def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            await self._more()
        return self._take(end + 2)

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._more()
        return self._take(count)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


def parse(raw: bytes) -> Answer:
    """One answer; a ValueError tells what is wrong with it."""
    if raw.startswith(b"+"):
        return Answer("+", "", raw=raw)
    tag, _, rest = raw.partition(b" ")
    word, _, after = rest.removesuffix(b"\r\n").partition(b" ")
    answer = Answer(tag.decode(), word.decode().upper(), raw=raw)
    if word.isdigit():
        answer.number = int(word)
        word, _, after = after.partition(b" ")
        answer.word = word.decode().upper()
    if answer.word in {"OK", "NO", "BAD", "BYE", "PREAUTH"}:
        code = _CODE.match(after.decode("utf-8", "replace"))
        if code is not None:
            answer.code, answer.code_text = code[1], code[2] or ""
    else:
        answer.values = values(after)
    return answer


def values(data: bytes) -> list[Value]:
    """Everything after an answer's name."""
    stack: list[list[Value]] = [[]]
    place = 0
    while place < len(data):
        octet = data[place : place + 1]
        if octet == b" ":
            place += 1
        elif octet == b"(":
            stack.append([])
            place += 1
        elif octet == b")":
            done = stack.pop()
            stack[-1].append(done)
            place += 1
        elif octet == b'"':
            value, place = _quoted(data, place)
            stack[-1].append(value)
        elif (literal := _LITERAL.match(data, place)) is not None:
            end = literal.end() + int(literal[1])
            stack[-1].append(data[literal.end() : end])
            place = end
        elif (atom := _ATOM.match(data, place)) is not None:
            text = atom[0].decode()
            stack[-1].append(None if text == "NIL" else text)
            place = atom.end()
        else:
            raise ValueError(f"bad octet at {place}: {data!r}")
    if len(stack) != 1:
        raise ValueError(f"open parentheses: {data!r}")
    return stack[0]


def _quoted(data: bytes, place: int) -> tuple[bytes, int]:
    out = bytearray()
    place += 1
    while data[place] != 0x22:
        if data[place] == 0x5C:
            place += 1
        out.append(data[place])
        place += 1
    return bytes(out), place + 1


def numbers(text: str) -> list[int]:
    """A set in the order it is written."""
    found: list[int] = []
    for part in text.split(","):
        low, _, high = part.partition(":")
        first, last = int(low), int(high or low)
        found += range(first, last + 1) if first <= last else range(first, last - 1, -1)
    return found


_TLS = untrusting()
