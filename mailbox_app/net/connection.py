"""One connection's bytes: in through a framer, out with back-pressure, and TLS in between.

No task and no timer exists while nothing happens; `expires_at` is read by the service's sweep. A peer that does not
read is cut off when a write waits longer than `WRITE_SECONDS`; one that sends while a command runs is paused.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import ClassVar, Generic, Protocol, TypeVar, cast

from mailbox_app.clock import Clock
from mailbox_app.ids import SessionId, new_session_id
from mailbox_app.net.channel import TlsChannel
from mailbox_app.net.tls import ServerTls

READ_SECONDS = 120.0
"""Silence inside a command: a literal or an authentication line that does not come."""
WRITE_SECONDS = 120.0
"""A peer that takes nothing of what it asked for."""
CLOSE_SECONDS = 10.0
"""For what is still to be sent when the session has ended."""
_PAUSE_BYTES = 65_536
"""Pipelined input kept while a command runs."""


class ConnectionGone(Exception):
    """The peer is no longer there; the command stops without an answer."""


class InputFramer(Protocol):
    """What cuts the bytes that come into what the protocol calls its pieces; the session asks it for them."""

    @property
    def buffered(self) -> int:
        """Bytes received and not yet given out."""
        ...

    @property
    def within_command(self) -> bool:
        """Whether anything came that was not given out."""
        ...

    def feed(self, data: bytes) -> None:
        """Store what the peer sent."""
        ...


FramerT = TypeVar("FramerT", bound=InputFramer)


class Connection(asyncio.Protocol, ABC, Generic[FramerT]):
    """Bytes in, bytes out. Subclassed by the session, which implements `run`."""

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
        "proxied_ip",
        "remote_ip",
        "session_id",
        "writing_paused",
    )

    autologout_seconds: ClassVar[float]
    """How long a session may be silent between commands."""

    def __init__(self, framer: FramerT, clock: Clock) -> None:
        self.framer = framer
        self.clock = clock
        self.session_id: SessionId = new_session_id()
        self.proxied_ip = ""
        """See `net/proxy.py`."""
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
        self.remote_ip = self.proxied_ip or (peer[0].removeprefix("::ffff:") if isinstance(peer, tuple) else "")
        self.is_local = self.remote_ip.startswith("127.") or self.remote_ip in {"", "::1"}
        self.is_tls = transport.get_extra_info("ssl_object") is not None

    def data_received(self, data: bytes) -> None:
        """Bytes came: wake whoever waits for them."""
        kept = self.take(data)
        # Also when somebody waits: before that one runs the loop may bring 8 MiB more of what is there already.
        if kept > _PAUSE_BYTES and not self._paused_reading and self._transport is not None:
            self._paused_reading = True
            self._transport.pause_reading()
        if self._arrival is not None:
            if not self._arrival.done():
                self._arrival.set_result(None)
        elif self._task is None:
            self.wake()

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

    # what lies between the framer and the transport; overridden where that is not nothing
    def take(self, data: bytes) -> int:
        """Keep what came; how many bytes are kept now."""
        self.framer.feed(data)
        return self.framer.buffered

    def pack(self, data: bytes) -> bytes:
        """What goes to the transport for these bytes."""
        return data

    # for sessions
    @property
    def channel(self) -> TlsChannel:
        """What the connection tells a login about itself."""
        return TlsChannel.of(self._transport)

    @property
    def closed(self) -> bool:
        """Whether the connection is over or ending."""
        return self._closed

    @property
    def running(self) -> bool:
        """Whether a command is being worked on."""
        return self._task is not None

    @abstractmethod
    async def run(self) -> None:
        """Work through everything received; returns when more bytes or another wake-up are needed."""

    def wake(self) -> None:
        """Start working when nothing runs."""
        if self._task is None and not self._closed:
            self._task = asyncio.get_running_loop().create_task(self._run())

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
                self._transport.write(self.pack(self._out[0] if len(self._out) == 1 else b"".join(self._out)))
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
                self.expire_in(self.autologout_seconds)

    async def send_produced(self, produce: Callable[[], Awaitable[tuple[bytes, bool]]]) -> None:
        """Write what is made in a thread: each call of `produce` gives a piece and whether more come.

        The next piece is made while this one is on its way; the last one is only queued.
        """
        coming = asyncio.ensure_future(produce())
        try:
            while True:
                piece, more = await coming
                if not more:
                    break
                coming = asyncio.ensure_future(produce())
                self.write(piece)
                await self.drain()
                self.expire_in(self.autologout_seconds)
        finally:
            if not coming.done():  # what makes them may only be dropped when no thread is inside it
                await asyncio.wait([coming])
            if not coming.cancelled():
                coming.exception()
        if piece:
            self.write(piece)

    async def wait_for_more(self) -> None:
        """Inside a command: send what is queued, then wait for bytes within the read deadline."""
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

    def resume_reading(self) -> None:
        """Take more from a peer that had sent too much at once."""
        if self._paused_reading and self._transport is not None:
            self._paused_reading = False
            self._transport.resume_reading()

    async def start_tls(self, tls: ServerTls) -> None:
        """The handshake, as the server. RFC 9051 6.2.1, RFC 2595 4."""
        transport = self._transport
        if transport is None:
            raise ConnectionGone
        transport.pause_reading()
        self.flush()
        if self.framer.within_command:  # what came in clear behind STARTTLS could be anybody's
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
