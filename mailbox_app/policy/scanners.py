"""Connections to scanners beside this server: rspamd over HTTP, clamd over its own protocol. Streams, with bounds.

Anything that goes wrong there is a `ScannerError`; the caller holds the deadline. An answer is at most 1 MiB.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

import msgspec
from msgspec import Meta, Struct, field

from mailbox_app.db.offload import Offload
from mailbox_app.policy.content import Source

PIECE_BYTES = 65_536
_ANSWER_BYTES = 1 << 20
_LINE_BYTES = 16_384


class ScannerError(Exception):
    """The scanner did not answer, or not in its protocol."""


class RspamdSymbol(Struct):
    """One of its rules that matched."""

    score: float = 0.0


class RspamdAnswer(Struct):
    """What `/checkv2` says; everything else in it is not looked at."""

    action: Annotated[str, Meta(max_length=100)]
    score: float
    required_score: float = 0.0
    symbols: dict[str, RspamdSymbol] = field(default_factory=dict)


async def ask_rspamd(
    url: str, headers: Sequence[tuple[str, str]], source: Source, size_bytes: int, offload: Offload
) -> RspamdAnswer:
    """POST a message to /checkv2."""
    target, host = _http_target(url)
    lines = [
        "POST /checkv2 HTTP/1.1",
        f"Host: {host}",
        f"Content-Length: {size_bytes}",
        "Connection: close",
        *(f"{name}: {_header_value(value)}" for name, value in headers if value),
    ]
    async with _connected(target) as (reader, writer):
        writer.write("\r\n".join([*lines, "", ""]).encode("utf-8", "replace"))
        async for piece in _pieces(source, size_bytes, offload):
            writer.write(piece)
            await writer.drain()
        status, fields = await _read_head(reader)
        body = await _read_body(reader, fields)
    if status != 200:
        raise ScannerError(f"answered {status}")
    try:
        return msgspec.json.decode(body, type=RspamdAnswer)
    except msgspec.DecodeError as error:
        raise ScannerError("answered something else than a verdict") from error


async def ask_clamd(address: str, source: Source, size_bytes: int, offload: Offload) -> str:
    """Stream a message by INSTREAM: the name of the virus found, or ""."""
    async with _connected(address) as (reader, writer):
        writer.write(b"zINSTREAM\0")
        async for piece in _pieces(source, size_bytes, offload):
            writer.write(len(piece).to_bytes(4, "big") + piece)
            await writer.drain()
        writer.write(bytes(4))
        await writer.drain()
        try:
            answer = await reader.readuntil(b"\0")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise ScannerError("did not answer") from error
    text = answer.rstrip(b"\0").decode("utf-8", "replace").strip()
    if text == "stream: OK":
        return ""
    if text.startswith("stream: ") and text.endswith(" FOUND"):
        return text[len("stream: ") : -len(" FOUND")] or "unnamed"
    raise ScannerError(f"answered {text[:100]}")


async def _pieces(source: Source, size_bytes: int, offload: Offload) -> AsyncIterator[bytes]:
    """The message's first `size_bytes`, read off the loop when they are in a file."""
    offset = 0
    while offset < size_bytes:
        size = min(PIECE_BYTES, size_bytes - offset)
        piece = source.read(offset, size) if source.is_in_memory else await offload.run(source.read, offset, size)
        if not piece:
            raise ScannerError("the message is shorter than it was")
        offset += len(piece)
        yield piece


@asynccontextmanager
async def _connected(address: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to "unix:/path" or "host:port"; whatever breaks is a `ScannerError`."""
    writer: asyncio.StreamWriter | None = None
    try:
        if address.startswith("unix:"):
            reader, writer = await asyncio.open_unix_connection(address.removeprefix("unix:"), limit=_LINE_BYTES)
        else:
            host, _, port = address.rpartition(":")
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), limit=_LINE_BYTES)
        yield reader, writer
    except (OSError, ValueError, EOFError) as error:
        raise ScannerError(str(error) or type(error).__name__) from error
    finally:
        if writer is not None:
            writer.transport.abort()


def _http_target(url: str) -> tuple[str, str]:
    """(address to connect to, value of Host)"""
    if url.startswith("unix:"):
        return url, "localhost"
    host = url.removeprefix("http://").partition("/")[0]
    has_port = ":" in host.rpartition("]")[2]
    return (host if has_port else f"{host}:11333"), host


def _header_value(value: str) -> str:
    """One line, printable."""
    return "".join(letter for letter in value if letter.isprintable())[:1_000]


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, Mapping[str, str]]:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise ScannerError("did not answer in HTTP") from error
    first, *rest = head.split("\r\n")
    words = first.split(" ")
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal():
        raise ScannerError("did not answer in HTTP")
    pairs = (line.partition(":") for line in rest if ":" in line)
    return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _read_body(reader: asyncio.StreamReader, fields: Mapping[str, str]) -> bytes:
    if "chunked" in fields.get("transfer-encoding", "").lower():
        return await _read_chunked(reader)
    length = fields.get("content-length", "")
    if length.isdecimal():
        if int(length) > _ANSWER_BYTES:
            raise ScannerError("answered too much")
        return await reader.readexactly(int(length))
    body = b""
    while piece := await reader.read(PIECE_BYTES):
        body += piece
        if len(body) > _ANSWER_BYTES:
            raise ScannerError("answered too much")
    return body


async def _read_chunked(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        size_text = (await reader.readline()).partition(b";")[0].strip()
        size = int(size_text, 16)  # ValueError is the caller's ScannerError
        if size < 0 or len(body) + size > _ANSWER_BYTES:
            raise ScannerError("answered too much")
        if size == 0:
            return body
        body += await reader.readexactly(size)
        await reader.readexactly(2)
