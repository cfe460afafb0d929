"""The connection below an SMTP session: aiosmtpd's protocol with our own reading, replying and deadlines.

From aiosmtpd come the connection's life (streams, timer, task) and the shape of its state. Its constructor looks every method
up by reflection (100 us a connection), its command loop takes a bare LF for a line's end and tells strangers what went
wrong inside, so both are replaced. Replies to pipelined commands leave in one write (RFC 2920 3.2). A session is never cancelled
because its peer went away: a delivery that has begun ends with everything durable or nothing visible.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import ssl
from typing import cast

from aiosmtpd.smtp import SMTP

from mailbox_app.clock import Clock
from mailbox_app.net.channel import TlsChannel
from mailbox_app.proto.smtp.replies import Refusal, Reply
from mailbox_app.services.smtp.limits import SmtpLimits

READ_BYTES = 65_536
_AHEAD_BYTES = 16_384
"""Reading stops when twice as much waits; uvloop brings up to 250 KiB at once all the same."""
LINE_LIMIT_BYTES = 12_288  # RFC 4954 4, the longest line there is
_TICK_SECONDS = 30.0


class SmtpConnection(SMTP):
    """Lines and content in, replies out, TLS on the way; a subclass says what they mean in `converse`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, limits: SmtpLimits) -> None:
        self.loop = loop
        reader = asyncio.StreamReader(limit=_AHEAD_BYTES, loop=loop)
        asyncio.StreamReaderProtocol.__init__(self, reader, self._cb_client_connected, loop=loop)
        self.clock = clock
        self.limits = limits
        self.proxied_ip = ""
        """See `net/proxy.py`."""
        self.remote_ip = ""
        self.tls: tuple[str, str] | None = None
        """Version and cipher."""
        self.ending = False
        """No further command is read."""
        self.deadline = math.inf
        """Monotonic seconds after which a waiting session is closed."""
        self.started_at = clock.monotonic_seconds()
        self._waiting = False
        self._closing = False
        self._input = b""
        self._at = 0
        self._output: list[bytes] = []
        self._link: asyncio.Transport | None = None
        # what aiosmtpd's methods look at
        self.session = self.envelope = self.transport = None
        self._timeout_duration = min(_TICK_SECONDS, limits.command_seconds)
        self._timeout_handle = self._handler_coroutine = self._original_transport = self._tls_protocol = None

    async def converse(self) -> None:
        """The whole session; when it returns, what is queued is sent and the connection closed."""
        raise NotImplementedError

    # life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer is there; with implicit TLS the handshake is done."""
        self._link = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        # a listener for both families tells IPv4 clients in IPv6 clothes
        self.remote_ip = self.proxied_ip or (peer[0].removeprefix("::ffff:") if isinstance(peer, tuple) else "")
        self._note_tls(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """The peer is gone: the reader says so to whoever waits for it, nothing is cancelled."""
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        asyncio.StreamReaderProtocol.connection_lost(self, error)
        self._link = self.transport = None

    def eof_received(self) -> bool:
        """The peer sends no more but may still read: what it sent is answered (not under TLS, which has no half)."""
        asyncio.StreamReaderProtocol.eof_received(self)
        return self.tls is None

    async def _handle_client(self) -> None:
        """aiosmtpd's task of the connection."""
        try:
            await self.converse()
            with contextlib.suppress(ConnectionError, ssl.SSLError):  # the peer did not wait for the last reply
                await self.flush()
        finally:
            # A peer that does not read its last replies has until the next tick.
            self._closing = True
            if self._link is not None:
                self._link.close()

    def _timeout_cb(self) -> None:
        """aiosmtpd's timer, one per connection: looks at the deadline, which moves with every line."""
        if self._closing:
            if self._link is not None:
                self._link.abort()
            return
        remaining = self.deadline - self.clock.monotonic_seconds() if self._waiting else math.inf
        if remaining > 0:
            self._reset_timeout(min(self._timeout_duration, max(remaining, 0.01)))
            return
        self.hang_up(Reply(421, "4.4.2", "Timed out waiting for you"))

    def hang_up(self, reply: Reply) -> None:
        """Say why and close, whatever the peer does."""
        self.ending = True
        if self._link is None or self._link.is_closing():
            return
        is_stuck = self._link.get_write_buffer_size() > 0
        self._link.write(reply.encode())
        if is_stuck:
            self._link.abort()
        else:
            self._link.close()

    @property
    def is_waiting(self) -> bool:
        """Waits for the peer, not for us."""
        return self._waiting

    @property
    def channel(self) -> TlsChannel:
        """What the connection tells a login about itself."""
        return TlsChannel.of(self._link)

    @property
    def channel_socket(self) -> socket.socket | None:
        """The connection's socket, to ask it about the peer; None when the peer is gone."""
        return self._link.get_extra_info("socket") if self._link is not None else None

    # reading and replying

    async def next_line(self) -> bytes | None:
        """One line with its CR but without its LF; None at the end of input. Too long a line is dropped and refused."""
        dropped, until = False, 0.0
        while True:
            end = self._input.find(b"\n", self._at)
            if end >= 0:
                line = self._input[self._at : end]
                self._at = end + 1
                if dropped or len(line) > LINE_LIMIT_BYTES:
                    raise Refusal(500, "5.5.6", "Line too long", reason="syntax")
                return line
            self._input = self._input[self._at :]
            self._at = 0
            if len(self._input) > LINE_LIMIT_BYTES:
                self._input, dropped = b"", True
            await self.flush()
            # for the whole line: a byte now and then must not hold a place for days
            until = until or self.clock.monotonic_seconds() + self.limits.command_seconds
            self.deadline = until
            chunk = await self._read()
            if not chunk:
                return None
            self._input += chunk

    async def next_chunk(self, deadline: float) -> bytes:
        """Content of any length as it comes; raises ConnectionResetError at the end of input."""
        if self._at < len(self._input):
            chunk = self._input[self._at :]
        else:
            await self.flush()
            self.deadline = deadline
            chunk = await self._read()
            if not chunk:
                raise ConnectionResetError("the peer went away inside a message")
        self._input, self._at = b"", 0
        return chunk

    async def hears_within(self, seconds: float) -> bool:
        """Whether the peer sends something within this time; what it sends is kept."""
        if self.has_input:
            return True
        reading = self.loop.create_task(self._reader.read(READ_BYTES))
        waiting = self.loop.create_task(self.clock.sleep(seconds))
        try:
            await asyncio.wait((reading, waiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            reading.cancel()
        await asyncio.wait((reading,))
        chunk = b"" if reading.cancelled() else reading.result()
        self._input += chunk
        return bool(chunk)

    def give_back(self, rest: bytes) -> None:
        """What `next_chunk` gave too much."""
        self._input, self._at = rest, 0

    @property
    def has_input(self) -> bool:
        """Whether the peer has already sent more than what was handled."""
        return self._at < len(self._input) or bool(self._reader._buffer)  # type: ignore[attr-defined]

    async def _read(self) -> bytes:
        self._waiting = True
        try:
            return await self._reader.read(READ_BYTES)
        finally:
            self._waiting = False

    def reply(self, reply: Reply | bytes) -> None:
        """Queue a reply; it leaves at the next `flush`, at the latest before the next wait for input."""
        self._output.append(reply if isinstance(reply, bytes) else reply.encode())

    async def flush(self) -> None:
        """Send what is queued; waits while the peer does not read, until the deadline closes the connection."""
        if self._output:
            if self._link is None or self._link.is_closing():
                raise ConnectionResetError("the peer went away")
            data = self._output[0] if len(self._output) == 1 else b"".join(self._output)
            self._output.clear()
            self.deadline = self.clock.monotonic_seconds() + self.limits.command_seconds
            self._waiting = True
            try:
                self._writer.write(data)
                await self._writer.drain()
            finally:
                self._waiting = False

    def end(self, reply: Reply) -> None:
        """The last reply of the session."""
        self.reply(reply)
        self.ending = True

    # TLS

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Change to TLS in place; what the peer sent in clear behind its command must have been checked before."""
        transport = self._link
        if transport is None:
            raise ConnectionResetError("the peer went away")
        self.deadline = math.inf
        transport.pause_reading()  # so that nothing in clear comes in between
        await self.flush()
        secured = await self.loop.start_tls(
            transport,
            self,
            context,
            server_side=True,
            ssl_handshake_timeout=self.limits.handshake_seconds,
        )
        if secured is None:
            raise ConnectionResetError("the peer went away in the handshake")
        self._link = self.transport = secured
        self._reader._transport = self._writer._transport = secured  # type: ignore[attr-defined]
        self._over_ssl = True
        self._note_tls(secured)

    def _note_tls(self, transport: asyncio.BaseTransport) -> None:
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            cipher = tls.cipher()
            self.tls = (tls.version() or "TLS", cipher[0] if cipher else "")
