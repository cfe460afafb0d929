"""One connection's bytes: in through the framer, out with back-pressure, and TLS in between.

No task and no timer exists while nothing happens; `expires_at` is read by the service's sweep. A peer that does not
read is cut off when a write waits longer than `WRITE_SECONDS`; one that sends while a command runs is paused.
"""

from __future__ import annotations

import asyncio
import math
from typing import cast

from mailbox_app.clock import Clock
from mailbox_app.ids import SessionId, new_session_id
from mailbox_app.net.channel import TlsChannel
from mailbox_app.proto.pop3.framing import LineFramer, Overlong
from mailbox_app.services.pop3.dependencies import ServerTls

LOGIN_SECONDS = 60.0
"""From connect to a successful login."""
AUTOLOGOUT_SECONDS = 600.0
"""RFC 1939 3: at least 10 minutes."""
READ_SECONDS = 120.0
"""Silence inside AUTH."""
WRITE_SECONDS = 120.0
"""A peer that takes nothing of what it asked for."""
CLOSE_SECONDS = 10.0
"""For what is still to be sent when the session has ended."""
_PAUSE_BYTES = 65_536
"""Pipelined input kept while a command runs."""


class ConnectionGone(Exception):
    """The peer is no longer there; the command stops without an answer."""


class Connection(asyncio.Protocol):
    """Bytes in, bytes out. Subclassed by the session, which overrides `run`."""

    __slots__ = (
        "_arrival",
        "_closed",
        "_ended",
        "_out",
        "_paused_reading",
        "_resumed",
        "_task",
        "_transport",
        "clock",
        "expires_at",
        "framer",
        "is_local",
        "is_tls",
        "remote_ip",
        "session_id",
        "writing_paused",
    )

    def __init__(self, line_bytes: int, clock: Clock) -> None:
        self.framer = LineFramer(line_bytes)
        self.clock = clock
        self.session_id: SessionId = new_session_id()
        self.remote_ip = ""
        self.is_local = True
        self.is_tls = False
        self.expires_at = math.inf
        self.writing_paused = False
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._arrival: asyncio.Future[None] | None = None
        self._resumed: asyncio.Future[None] | None = None
        self._out: list[bytes] = []
        self._paused_reading = False
        self._closed = False
        self._ended = False

    # asyncio.Protocol
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer is there."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.remote_ip = peer[0].removeprefix("::ffff:") if isinstance(peer, tuple) else ""
        self.is_local = self.remote_ip.startswith("127.") or self.remote_ip in {"", "::1"}
        self.is_tls = transport.get_extra_info("ssl_object") is not None

    def data_received(self, data: bytes) -> None:
        """Bytes came: wake whoever waits for them."""
        self.framer.feed(data)
        if self.framer.buffered > _PAUSE_BYTES and not self._paused_reading and self._transport is not None:
            self._paused_reading = True
            self._transport.pause_reading()
        if self._arrival is not None:
            if not self._arrival.done():
                self._arrival.set_result(None)
        elif self._task is None and not self._closed:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def eof_received(self) -> bool:
        """The peer sends no more: what it asked for is still answered, as far as the transport allows that."""
        self._ended = True
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_exception(ConnectionGone())
        return self.running and not self.is_tls

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone: end what runs."""
        self._closed = True
        self._transport = None
        for waiter in (self._arrival, self._resumed):
            if waiter is not None and not waiter.done():
                waiter.set_exception(ConnectionGone())
        self._out.clear()

    def pause_writing(self) -> None:
        """The peer reads slower than we write."""
        self.writing_paused = True

    def resume_writing(self) -> None:
        """The peer caught up."""
        self.writing_paused = False
        if self._resumed is not None and not self._resumed.done():
            self._resumed.set_result(None)

    # for sessions
    @property
    def closed(self) -> bool:
        """Whether the connection is over or ending."""
        return self._closed

    @property
    def channel(self) -> TlsChannel:
        """What the connection tells about itself to an authentication."""
        return TlsChannel.of(self._transport)

    @property
    def running(self) -> bool:
        """Whether a command is being worked on."""
        return self._task is not None

    async def run(self) -> None:
        """Work through what was received; overridden."""
        raise NotImplementedError

    async def _run(self) -> None:
        try:
            await self.run()
            if self._ended:
                self.close()
        except ConnectionGone:
            if not self._closed:
                self.abort()
        except BaseException:
            self.abort()
            raise
        finally:
            self._task = None

    def expire_in(self, seconds: float) -> None:
        """The sweep ends the session after this long."""
        self.expires_at = self.clock.monotonic_seconds() + seconds

    def write(self, *pieces: bytes) -> None:
        """Queue bytes; they go out at `flush`."""
        self._out.extend(pieces)

    def flush(self) -> None:
        """Hand everything queued to the transport."""
        if self._out:
            if self._transport is not None:
                self._transport.write(self._out[0] if len(self._out) == 1 else b"".join(self._out))
            self._out.clear()

    async def drain(self) -> None:
        """Flush, then wait until the peer took most of it."""
        self.flush()
        if self._closed:
            raise ConnectionGone
        if self.writing_paused:
            self._resumed = asyncio.get_running_loop().create_future()
            self.expire_in(WRITE_SECONDS)
            try:
                await self._resumed
            finally:
                self._resumed = None
                self.expire_in(AUTOLOGOUT_SECONDS)

    async def read_line(self) -> bytes | Overlong:
        """The next line inside a command, waiting for the peer within the read deadline."""
        while (line := self.framer.next_line()) is None:
            self.flush()
            if self._closed or self._ended:
                raise ConnectionGone
            self.resume_reading()
            self._arrival = asyncio.get_running_loop().create_future()
            self.expire_in(READ_SECONDS)
            try:
                await self._arrival
            finally:
                self._arrival = None
        return line

    def resume_reading(self) -> None:
        """Take more from a peer that had sent too much at once."""
        if self._paused_reading and self._transport is not None:
            self._paused_reading = False
            self._transport.resume_reading()

    async def start_tls(self, tls: ServerTls) -> None:
        """The handshake, as the server. RFC 2595 4."""
        transport = self._transport
        if transport is None:
            raise ConnectionGone
        transport.pause_reading()
        self.flush()
        if self.framer.within_line:  # what came in clear behind STLS could be anybody's
            self.close()
            raise ConnectionGone
        loop = asyncio.get_running_loop()
        try:
            secured = await loop.start_tls(
                transport, self, tls.server_context(), server_side=True, ssl_handshake_timeout=30.0
            )
        except (TimeoutError, OSError) as error:
            raise ConnectionGone from error
        if secured is None or self._closed:
            raise ConnectionGone
        self._transport = secured
        self.is_tls = True
        secured.resume_reading()

    def close(self) -> None:
        """Flush and end the connection; cut off by the sweep when the peer does not take the rest."""
        self.flush()
        self.expire_in(CLOSE_SECONDS)
        self._closed = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._closed = True
        if self._transport is not None:
            self._transport.abort()
