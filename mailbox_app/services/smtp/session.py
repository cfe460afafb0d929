"""One SMTP session: aiosmtpd's protocol with our own reading, replying, limits and commands.

From aiosmtpd come the connection's life (streams, timer, task) and its state's shape (`session`, `envelope`). Its constructor
looks every method up by reflection (100 us a connection), its command loop takes a bare LF for a line's end and tells strangers
what went wrong inside, so both are replaced. Replies to pipelined commands leave in one write (RFC 2920 3.2). A session is never
cancelled because its peer went away: a delivery that has begun ends with everything durable or nothing visible.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from typing import TYPE_CHECKING, Literal, cast

import structlog
from aiosmtpd.smtp import SMTP

from mailbox_app.accounts.model import Account
from mailbox_app.errors import MailboxError
from mailbox_app.ids import new_session_id
from mailbox_app.proto.smtp.commands import split_command
from mailbox_app.proto.smtp.replies import Refusal, Reply, reply_for
from mailbox_app.services.smtp.transaction import Transaction
from mailbox_app.services.smtp.verbs import VERBS

if TYPE_CHECKING:
    from mailbox_app.services.smtp.server import SmtpService

ServiceKind = Literal["smtp", "submission", "submissions"]

READ_BYTES = 65_536
LINE_LIMIT_BYTES = 12_288  # RFC 4954 4, the longest line there is
_TICK_SECONDS = 30.0
_BAD_LINE = "Lines end with CR LF and hold no bare CR, bare LF or NUL"


class SmtpSession(SMTP):
    """The engine. Handlers of commands (see `verbs`) get the session and read and change its public attributes."""

    def __init__(self, service: SmtpService, kind: ServiceKind) -> None:
        self.loop = service.loop
        reader = asyncio.StreamReader(limit=READ_BYTES, loop=self.loop)
        asyncio.StreamReaderProtocol.__init__(self, reader, self._cb_client_connected, loop=self.loop)
        self.service = service
        self.kind: ServiceKind = kind
        self.session_id = new_session_id()
        self.remote_ip = ""
        self.helo = ""
        self.is_extended = False
        self.tls: tuple[str, str] | None = None
        """Version and cipher."""
        self.account: Account | None = None
        self.transaction = Transaction()
        self.ending = False
        self.error_count = 0
        self.failed_logins = 0
        self.message_count = 0
        self.idle_command_count = 0
        self.deadline = math.inf
        """Monotonic seconds after which a waiting session is closed."""
        self.started_at = service.clock.monotonic_seconds()
        self._waiting = False
        self._input = b""
        self._at = 0
        self._output: list[bytes] = []
        self._link: asyncio.Transport | None = None
        # what aiosmtpd's methods look at
        self.session = self.envelope = self.transport = None
        self._timeout_duration = min(_TICK_SECONDS, service.limits.command_seconds)
        self._timeout_handle = self._handler_coroutine = self._original_transport = self._tls_protocol = None

    # the connection's life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer is there; with implicit TLS the handshake is done."""
        self._link = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.remote_ip = peer[0] if peer else ""
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

    def _timeout_cb(self) -> None:
        """aiosmtpd's timer, one per connection: looks at the deadline, which moves with every line."""
        clock, limits = self.service.clock, self.service.limits
        now = clock.monotonic_seconds()
        if now < self.deadline or not self._waiting:
            remaining = self.deadline - now if self._waiting else math.inf
            self._reset_timeout(min(self._timeout_duration, max(remaining, 0.01), limits.command_seconds))
            return
        self.hang_up(Reply(421, "4.4.2", "Timed out waiting for you"))

    def hang_up(self, reply: Reply) -> None:
        """Say why and close, whatever the peer does."""
        self.ending = True
        if self._link is not None:
            self._link.write(reply.encode())
            if self._link.get_write_buffer_size():
                self._link.abort()
            else:
                self._link.close()

    @property
    def is_idle(self) -> bool:
        """Waits for a command, outside any transaction."""
        return self._waiting and self.transaction.sender is None

    async def _handle_client(self) -> None:
        service = self.service
        entered = False
        try:
            refusal = service.enter(self)
            entered = refusal is None
            self.reply(refusal or service.greeting)
            self.ending = not entered
            while not self.ending:
                if service.draining and self.transaction.sender is None:
                    self.end(Reply(421, "4.3.2", "Shutting down, try again later"))
                    break
                await self._obey()
            await self.flush()
        except (ConnectionError, ssl.SSLError, TimeoutError) as error:
            structlog.get_logger("smtp").debug("connection_lost", session_id=self.session_id, error=str(error))
        except asyncio.CancelledError:
            # A thread may still read the content: it is freed when that thread lets go of it, not closed under it.
            self.transaction = Transaction()
            raise
        finally:
            if entered:
                service.leave(self)
            self.transaction.close()
            if self._link is not None:
                self._link.close()

    # reading and replying

    async def next_line(self) -> bytes | None:
        """One line with its CR but without its LF; None at the end of input. Too long a line is dropped and refused."""
        dropped = False
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
            self.deadline = self.service.clock.monotonic_seconds() + self.service.limits.command_seconds
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
            data = self._output[0] if len(self._output) == 1 else b"".join(self._output)
            self._output.clear()
            self.deadline = self.service.clock.monotonic_seconds() + self.service.limits.command_seconds
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

    # commands

    async def _obey(self) -> None:
        """One command, from its line to its reply."""
        reply: Reply | bytes | None
        try:
            line = await self.next_line()
            if line is None:
                self.ending = True
                return
            reply = await self._run(line)
        except MailboxError as error:
            reply = self._refused(error)
        except (ConnectionError, ssl.SSLError):
            raise
        except Exception as error:  # noqa: BLE001 - the session's edge: our own bug is 451 for the peer
            reply = self._failed(error)
        if reply is None:
            return
        self.reply(reply)
        if isinstance(reply, bytes):
            return
        if reply.code == 421:
            self.ending = True
        elif reply.code >= 500:
            self.error_count += 1
            if self.error_count >= self.service.limits.errors and not self.ending:
                self.end(Reply(421, "4.7.0", "Too many errors"))

    async def _run(self, line: bytes) -> Reply | bytes | None:
        if not line.endswith(b"\r") or line.find(b"\r") != len(line) - 1 or b"\0" in line:
            raise Refusal(500, "5.5.2", _BAD_LINE, reason="bad_line_ending")
        verb, argument = split_command(line[:-1])
        row = VERBS.get(verb)
        if row is None:
            raise Refusal(500, "5.5.1", "Command not recognized", reason="syntax")
        if len(line) > row.limit_bytes:
            raise Refusal(500, "5.5.2", "Command line too long", reason="syntax")
        if row.needs_hello and not self.helo:
            raise Refusal(503, "5.5.1", "Say EHLO first", reason="sequence")
        self.idle_command_count += row.is_counted
        if self.idle_command_count > self.service.limits.idle_commands:
            return Reply(421, "4.7.0", "Too many commands without a message")
        if self.service.clock.monotonic_seconds() - self.started_at > self.service.limits.session_seconds:
            return Reply(421, "4.4.2", "This session has lasted too long")
        return await row.handler(self, argument)

    def _refused(self, error: MailboxError) -> Reply:
        reply = reply_for(error)
        self.service.note_refusal(self, error, reply)
        return reply

    def _failed(self, error: Exception) -> Reply:
        """Our own trouble: logged and counted, a general 451 for the peer; 421 where the stream is out of step."""
        self.service.metrics.errors.inc()
        structlog.get_logger("smtp").error("session_failed", session_id=self.session_id, exc_info=error)
        if self.transaction.in_content:
            return Reply(421, "4.3.0", "Local trouble, try again later")
        return Reply(451, "4.3.0", "Local trouble, try again later")

    # state

    def forget_transaction(self) -> None:
        """As RSET does."""
        self.transaction.close()
        self.transaction = Transaction()

    def forget_all(self) -> None:
        """Everything but the connection. RFC 3207 4.2."""
        self.forget_transaction()
        self.helo = ""
        self.is_extended = False
        self.account = None

    async def start_tls(self) -> None:
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
            self.service.tls.server_context(),
            server_side=True,
            ssl_handshake_timeout=self.service.limits.handshake_seconds,
        )
        if secured is None:
            raise ConnectionResetError("the peer went away in the handshake")
        self._link = self.transport = secured
        self._reader._transport = self._writer._transport = secured  # type: ignore[attr-defined]
        self._over_ssl = True
        self._note_tls(secured)
        self.forget_all()

    def _note_tls(self, transport: asyncio.BaseTransport) -> None:
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            cipher = tls.cipher()
            self.tls = (tls.version() or "TLS", cipher[0] if cipher else "")
