"""A web server over TLS that serves one MTA-STS policy, or something else."""

from __future__ import annotations

import asyncio
import ssl


class PolicyServer:
    """On 127.0.0.1; `answer` is sent as it is, `status` and `kind` go into the head of `body` otherwise."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.body = b""
        self.status = "200 OK"
        self.kind = "text/plain; charset=utf-8"
        self.extra = ""
        self.answer: bytes | None = None
        self.requests: list[str] = []
        self.keeps_open = False
        self.port = 0
        self._context = context
        self._server: asyncio.Server | None = None

    def policy(self, mode: str, *patterns: str, max_age: int = 604_800) -> None:
        lines = ["version: STSv1", f"mode: {mode}", f"max_age: {max_age}", *(f"mx: {one}" for one in patterns)]
        self.body = "\r\n".join([*lines, ""]).encode()

    async def __aenter__(self) -> PolicyServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(head)
            whole = (
                f"HTTP/1.1 {self.status}\r\nContent-Type: {self.kind}\r\nContent-Length: {len(self.body)}\r\n"
                f"{self.extra}\r\n"
            ).encode() + self.body
            writer.write(whole if self.answer is None else self.answer)
            await writer.drain()
            if self.keeps_open:
                await reader.read()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()
