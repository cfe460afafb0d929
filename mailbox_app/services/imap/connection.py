"""One connection's bytes: in through the framer, out with back-pressure, and TLS in between.

No task and no timer exists while nothing happens; `expires_at` is read by the service's sweep. A peer that does not
read is cut off when a write waits longer than `WRITE_SECONDS`; one that sends while a command runs is paused.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from functools import partial
from typing import cast

from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.ids import SessionId, new_session_id
from mailbox_app.net.channel import TlsChannel
from mailbox_app.proto.imap.framing import Event, Framer, FramingLimits
from mailbox_app.services.imap.compression import CorruptStream, Deflate
from mailbox_app.services.imap.dependencies import ServerTls

LOGIN_SECONDS = 60.0
"""From connect to a successful login."""
AUTOLOGOUT_SECONDS = 1_800.0
"""RFC 9051 5.4: at least 30 minutes."""
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


class Connection(asyncio.Protocol):
    """Bytes in, bytes out. Subclassed by the session, which overrides `run`."""

    __slots__ = (
        "_arrival",
        "_closed",
        "_deflate",
        "_ended",
        "_out",
        "_paused_reading",
        "_resumed",
        "_task",
        "_transport",
        "_writing_paused",
        "clock",
        "expires_at",
        "framer",
        "is_counted",
        "is_local",
        "is_tls",
        "remote_ip",
        "session_id",
    )

    def __init__(self, limits: FramingLimits, clock: Clock) -> None:
        self.framer = Framer(limits)
        self.clock = clock
        self.session_id: SessionId = new_session_id()
        self.remote_ip = ""
        self.is_local = True
        self.is_counted = False
        """By the service, against the limit of its address."""
        self.is_tls = False
        self.expires_at = math.inf
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._arrival: asyncio.Future[None] | None = None
        self._resumed: asyncio.Future[None] | None = None
        self._deflate: Deflate | None = None
        self._out: list[bytes] = []
        self._writing_paused = False
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
        if self._deflate is None:
            self.framer.feed(data)
            kept = self.framer.buffered
        else:
            self._deflate.take(data)
            kept = self._deflate.packed_bytes
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
        self._writing_paused = True

    def resume_writing(self) -> None:
        """The peer caught up."""
        self._writing_paused = False
        if self._resumed is not None and not self._resumed.done():
            self._resumed.set_result(None)

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

    async def run(self) -> None:
        """Work through what was received; overridden."""
        raise NotImplementedError

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
                data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
                self._transport.write(data if self._deflate is None else self._deflate.pack(data))
            self._out.clear()

    async def drain(self) -> None:
        """Flush, then wait until the peer took most of it."""
        self.flush()
        if self._closed:
            raise ConnectionGone
        if self._writing_paused:
            self._resumed = asyncio.get_running_loop().create_future()
            self.expire_in(WRITE_SECONDS)
            try:
                await self._resumed
            finally:
                self._resumed = None
                self.expire_in(AUTOLOGOUT_SECONDS)

    async def send_produced(self, offload: Offload, pieces: Iterator[bytes]) -> None:
        """Write what a blocking generator makes in a thread; the next piece is made while this one is on its way."""
        step = partial(next, pieces, None)
        coming: asyncio.Future[bytes | None] = asyncio.ensure_future(offload.run(step))
        try:
            while (piece := await coming) is not None:
                coming = asyncio.ensure_future(offload.run(step))
                self.write(piece)
                await self.drain()
        finally:
            if not coming.done():  # the generator may only be dropped when no thread is inside it
                await asyncio.wait([coming])
            if not coming.cancelled():
                coming.exception()

    async def next_event(self) -> Event:
        """The next event of the running command, waiting for the peer within the read deadline."""
        while (event := self.framer.next_event()) is None:
            if self.unpack_more():
                await asyncio.sleep(0)  # what it becomes may be a thousand times as long
                continue
            self.flush()
            if self._closed or self._ended:
                raise ConnectionGone
            self._resume_reading()
            self._arrival = asyncio.get_running_loop().create_future()
            self.expire_in(READ_SECONDS)
            try:
                await self._arrival
            finally:
                self._arrival = None
        return event

    def _resume_reading(self) -> None:
        if self._paused_reading and self._transport is not None:
            self._paused_reading = False
            self._transport.resume_reading()

    # compression
    @property
    def is_compressed(self) -> bool:
        """Whether COMPRESS is on."""
        return self._deflate is not None

    def start_compression(self) -> None:
        """What was written goes as it is, what is written and read from now on is compressed."""
        self.flush()
        self._deflate = Deflate()
        rest = self.framer.take_rest()
        if rest:
            self._deflate.take(rest)

    def stop_compression(self) -> None:
        """What was written is the last that goes compressed."""
        self.flush()
        self._deflate = None

    def unpack_more(self) -> bool:
        """Give the framer a piece of compressed input; False: there is none."""
        if self._deflate is None or not self._deflate.waiting:
            return False
        try:
            self.framer.feed(self._deflate.unpack())
        except CorruptStream as error:
            self.abort()
            raise ConnectionGone from error
        return True

    def rest(self) -> None:
        """Nothing happens for a while: keep little."""
        if self._deflate is not None:
            self._deflate.rest()

    async def start_tls(self, tls: ServerTls) -> None:
        """The handshake, as the server. RFC 9051 6.2.1."""
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
