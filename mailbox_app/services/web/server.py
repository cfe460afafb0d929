"""HTTP for scrapers and probes: GET and HEAD of four paths, one request per connection, nothing else.

Its own 100 lines instead of starlette and uvicorn: the core needs no 15 MB more for four plain answers on loopback; the DAV
service brings them when it comes. Bounded: head 8 KiB, 10 s per request, 64 connections at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from mailbox_app.services.web.health import Health, HealthChecks

_HEAD_BYTES = 8_192
_REQUEST_SECONDS = 10.0
_CONNECTIONS = 64
_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"
_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

Answer = tuple[int, str, bytes]
"""Status, content type, body."""


class WebService:
    """Listens for scrapers. `exposition` gives the text of /metrics, `admits` says whether a client may come in at all."""

    def __init__(
        self,
        exposition: Callable[[], bytes],
        checks: HealthChecks,
        admits: Callable[[str], Awaitable[bool]] | None = None,
    ) -> None:
        self._admits = admits
        self._exposition = exposition
        self._checks = checks
        self._slots = _CONNECTIONS
        self._log = structlog.get_logger("web")

    def factory(self) -> asyncio.BaseProtocol:
        """The protocol of one connection."""
        reader = asyncio.StreamReader(limit=_HEAD_BYTES)
        return asyncio.StreamReaderProtocol(reader, self._serve)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._slots == 0:
            writer.close()
            return
        self._slots -= 1
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                peer = writer.get_extra_info("peername")
                if self._admits is None or not isinstance(peer, tuple) or await self._admits(peer[0]):
                    await self._converse(reader, writer)
        except (TimeoutError, ConnectionError):
            writer.transport.abort()
        finally:
            self._slots += 1
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            writer.write(_response((431, _TEXT, b"the request's head is too large\n"), with_body=True))
        except asyncio.IncompleteReadError:
            return
        else:
            method, _, rest = head.partition(b" ")
            answer = await self._answer(method, rest.partition(b" ")[0].partition(b"?")[0])
            writer.write(_response(answer, with_body=method != b"HEAD"))
        await writer.drain()

    async def _answer(self, method: bytes, path: bytes) -> Answer:
        if method not in {b"GET", b"HEAD"}:
            return 405, _TEXT, b"only GET and HEAD\n"
        try:
            if path == b"/metrics":
                return 200, _EXPOSITION, self._exposition()
            if path in {b"/health", b"/healthz", b"/health/detailed", b"/ready"}:
                return _health_answer(path, await self._checks.health())
        except Exception:  # noqa: BLE001 - a session's edge: answered, logged
            self._log.exception("request failed", path=path)
            return 500, _TEXT, b"the log says why\n"
        return 404, _TEXT, b"try /metrics, /health, /health/detailed or /ready\n"


def _health_answer(path: bytes, health: Health) -> Answer:
    if path == b"/ready":
        return (200, _TEXT, b"ready\n") if health.ready else (503, _TEXT, b"not ready\n")
    told: dict[str, object] = {
        "status": "ok" if health.ok else "degraded",
        "uptime_seconds": round(health.uptime_seconds, 3),
    }
    if path == b"/health/detailed":
        told["components"] = {
            each.name: {"status": "ok" if each.ok else "degraded", "reason": each.reason, **each.fields}
            for each in health.components
        }
    return (200 if health.ok else 503), _JSON, msgspec.json.encode(told) + b"\n"


def _response(answer: Answer, *, with_body: bool) -> bytes:
    status, content_type, body = answer
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (body if with_body else b"")
