"""One GET or POST over verified HTTPS from a host that strangers name: no redirects, bounded in size and time, to given addresses.

The caller resolves the name and decides which addresses are fit (no private ones), so no answer of DNS between that look and the
connection can lead elsewhere. The answer is read until it is whole and taken apart by the standard library. `HttpsTrouble` says in
one sentence what went wrong and whether it was the certificate.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from mailbox_app.errors import MailboxError

_HEAD_BYTES = 16_384


class HttpsTrouble(MailboxError):
    """No answer could be had."""

    def __init__(self, text: str, *, certificate: bool = False) -> None:
        super().__init__("https.failed", text, temporary=True)
        self.certificate = certificate


@dataclass(frozen=True, slots=True)
class Response:
    """What came."""

    status: int
    content_type: str
    """In lower case, without parameters; "" when none was given."""
    body: bytes


async def get(
    host: str,
    path: str,
    *,
    addresses: Sequence[str],
    port: int,
    context: ssl.SSLContext,
    seconds: float,
    max_bytes: int,
) -> Response:
    """The answer of the first address that takes a connection; `seconds` is for everything together."""
    request = _head("GET", path, host, port) + b"Accept: text/plain\r\n\r\n"
    return await _exchange(host, request, addresses, port, context, seconds, max_bytes)


async def post(
    host: str,
    path: str,
    body: bytes,
    content_type: str,
    *,
    addresses: Sequence[str],
    port: int,
    context: ssl.SSLContext,
    seconds: float,
    max_bytes: int,
) -> Response:
    """As `get`, with a body."""
    about = f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    request = _head("POST", path, host, port) + about.encode("ascii") + body
    return await _exchange(host, request, addresses, port, context, seconds, max_bytes)


def _head(method: str, path: str, host: str, port: int) -> bytes:
    name = host if port == 443 else f"{host}:{port}"
    return f"{method} {path} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: mailbox\r\nConnection: close\r\n".encode("ascii")


async def _exchange(
    host: str,
    request: bytes,
    addresses: Sequence[str],
    port: int,
    context: ssl.SSLContext,
    seconds: float,
    max_bytes: int,
) -> Response:
    try:
        async with asyncio.timeout(seconds):
            return await _first(host, request, addresses, port, context, max_bytes)
    except TimeoutError as error:
        raise HttpsTrouble(f"{host} did not answer within {seconds:.0f} seconds") from error


async def _first(
    host: str, request: bytes, addresses: Sequence[str], port: int, context: ssl.SSLContext, max_bytes: int
) -> Response:
    trouble = HttpsTrouble(f"{host} has no address")
    for address in addresses:
        try:
            reader, writer = await asyncio.open_connection(
                address, port, ssl=context, server_hostname=host, limit=max_bytes + _HEAD_BYTES
            )
        except ssl.SSLCertVerificationError as error:
            raise HttpsTrouble(
                f"the certificate of {host} is not valid: {error.verify_message}", certificate=True
            ) from error
        except ssl.SSLError as error:
            trouble = HttpsTrouble(f"the TLS handshake with {host} failed: {error.reason or 'unknown reason'}")
            continue
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            trouble = HttpsTrouble(f"no connection to {host}: {reason}")
            continue
        try:
            writer.write(request)
            return _read(host, await _whole(host, reader, max_bytes), max_bytes)
        except OSError as error:
            raise HttpsTrouble(f"{host} broke off: {error.strerror or type(error).__name__}") from error
        finally:
            writer.transport.abort()
    raise trouble


async def _whole(host: str, reader: asyncio.StreamReader, max_bytes: int) -> bytes:
    """Until the connection ends or the answer is complete, for servers that keep it open all the same."""
    data = bytearray()
    while piece := await reader.read(65_536):
        data += piece
        if len(data) > max_bytes + _HEAD_BYTES:
            raise HttpsTrouble(f"the answer of {host} is too long")
        if _is_complete(data):
            break
    return bytes(data)


def _is_complete(data: bytearray) -> bool:
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = bytes(data[:end]).lower()
    if b"\r\ntransfer-encoding:" in head:
        return data.endswith(b"\r\n0\r\n\r\n")
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == b"content-length" and value.strip().isdigit():
            return len(data) - end - 4 >= int(value.strip()[:10])
    return False


class _Received:
    """What `http.client` takes for a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _read(host: str, data: bytes, max_bytes: int) -> Response:
    response = http.client.HTTPResponse(_Received(data), method="GET")  # type: ignore[arg-type]
    try:
        response.begin()
        body = response.read(max_bytes + 1)
    except (http.client.HTTPException, ValueError, OSError) as error:
        raise HttpsTrouble(f"the answer of {host} cannot be read") from error
    if response.length not in (None, 0):
        raise HttpsTrouble(f"{host} broke off" if len(body) <= max_bytes else f"the answer of {host} is too long")
    if len(body) > max_bytes:
        raise HttpsTrouble(f"the answer of {host} is too long")
    kind = (response.getheader("content-type") or "").partition(";")[0].strip().lower()
    return Response(response.status, kind, body)
