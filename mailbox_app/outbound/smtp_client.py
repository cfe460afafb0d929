"""One SMTP dialogue with one host: connect, greet, go over to TLS, hand over a message.

`SmtpConnection` knows the wire: replies through the pure reader, bounded in size, each awaited under its own deadline.
A host that cannot be used raises `HostTrouble` (the next host may do better); what a host says about a message or a
recipient is a value. Nothing is ever sent in clear to a host that offered STARTTLS: a handshake that fails ends the
use of the host, and so do bytes that arrive in clear behind the answer to STARTTLS (an injected reply).
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Callable, Sequence

from mailbox_app.errors import MailboxError, ProtocolError
from mailbox_app.net.channel import TlsChannel
from mailbox_app.outbound.replies import Reply, ReplyReader, clean
from mailbox_app.outbound.tls.witness import TlsResult

# RFC 5321 4.5.3.2 asks for five minutes at most places; the connection's own limits are those of features 1.2.
CONNECT_SECONDS = 30.0
GREETING_SECONDS = 60.0
COMMAND_SECONDS = 300.0
DATA_BLOCK_SECONDS = 180.0
DATA_END_SECONDS = 600.0
_HANDSHAKE_SECONDS = 60.0
_QUIT_SECONDS = 5.0
_OUR_TROUBLE = frozenset(
    {errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM,
     errno.EACCES, errno.EPERM, errno.EAFNOSUPPORT}
)  # fmt: skip
"""Of a connection that did not come about: nothing that would tell anything about the host."""
_CERTIFICATE_RESULTS = {10: TlsResult.EXPIRED, 62: TlsResult.HOST_MISMATCH, 64: TlsResult.HOST_MISMATCH}
"""OpenSSL's reasons to distrust a certificate; all others mean that nobody we know vouches for it."""


class HostTrouble(MailboxError):
    """The host cannot be used now. `smtp_code` 5xx only when the host itself said that it takes no mail at all."""

    def __init__(self, smtp_code: int, enhanced: str, text: str, *, unreachable: bool = False, said: str = "") -> None:
        super().__init__("outbound.host_trouble", clean(text), temporary=smtp_code < 500)
        self.said = said
        """The host's own reply, when the text is about one."""
        self.smtp_code = smtp_code
        self.enhanced = enhanced
        self.unreachable = unreachable
        """Nobody would get further there now: no connection, no TLS, no greeting, or a temporary one. What breakers count."""


class NoConnection(HostTrouble):
    """Not even a connection came about. `timed_out`: nobody said anything at all; `is_ours`: it failed on this machine."""

    def __init__(self, text: str, *, timed_out: bool, is_ours: bool = False) -> None:
        super().__init__(451, "4.4.1", text, unreachable=not is_ours)
        self.timed_out = timed_out


class TlsTrouble(HostTrouble):
    """Encryption with the host came to nothing, or to the wrong one; in the words of RFC 8460 4.3 too."""

    def __init__(self, text: str, result: TlsResult, *, unreachable: bool = False) -> None:
        super().__init__(451, "4.7.5", text, unreachable=unreachable)
        self.result = result

    def because(self, whose: str) -> TlsTrouble:
        """The same, with whose wish it failed."""
        return TlsTrouble(f"{self.public_text} ({whose})", self.result, unreachable=self.unreachable)


class SmtpConnection:
    """An open connection. Make it with `connect`, then `greet`, then perhaps `start_tls`; `leave` or `close` it."""

    def __init__(self, host: str, address: str, wire: _Wire) -> None:
        self.host = host
        self.address = address
        self.tls = ""
        """Protocol version and cipher; "" in clear."""
        self.extensions: dict[str, str] = {}
        """EHLO keywords in upper case and their parameters; empty after HELO."""
        self.login = ""
        """The mechanism that logged us in; "" for none."""
        self.messages = 0
        """Transactions over this connection so far."""
        self.at_rest = True
        """Whether no transaction is open: whoever begins another one first ends it by RSET."""
        self._wire = wire

    @classmethod
    async def connect(
        cls, host: str, address: str, port: int, *, source: str = "", seconds: float = CONNECT_SECONDS
    ) -> SmtpConnection:
        """Connect to one address of the host, from the address `source` when there is one; `NoConnection`."""
        loop = asyncio.get_running_loop()
        local = (source, 0) if source else None
        try:
            async with asyncio.timeout(seconds):
                _, wire = await loop.create_connection(_Wire, address, port, local_addr=local)
        except TimeoutError as error:  # also ETIMEDOUT: the system lost patience before us
            raise NoConnection(f"no connection to {host} [{address}]: timed out", timed_out=True) from error
        except OSError as error:
            reason = error.strerror or type(error).__name__
            origin = f" from {source}" if source else ""
            text = f"no connection to {host} [{address}]{origin}: {reason}"
            raise NoConnection(text, timed_out=False, is_ours=error.errno in _OUR_TROUBLE) from error
        return cls(host, address, wire)

    async def greet(self, hostname: str) -> None:
        """Await the greeting, say EHLO, or HELO to a host that does not know EHLO."""
        try:
            greeting = await self._wire.reply(GREETING_SECONDS)
            if not greeting.positive:
                raise self._refused(greeting, "refused the connection")
            await self._hello(hostname)
        except HostTrouble as trouble:
            trouble.unreachable = trouble.temporary
            raise

    async def start_tls(
        self,
        context: ssl.SSLContext,
        hostname: str,
        server_name: str = "",
        check: Callable[[ssl.SSLObject], None] | None = None,
    ) -> None:
        """Encrypt, then forget what was learnt in clear and say EHLO again. RFC 3207 4.2. As `begin_tls`."""
        try:
            reply = await self.command(b"STARTTLS")
        except HostTrouble as trouble:
            if trouble.smtp_code == 421:
                raise
            text = f"{self.host} offered STARTTLS and answered it with nothing: {trouble.public_text}"
            raise TlsTrouble(text, TlsResult.VALIDATION_FAILURE, unreachable=True) from trouble
        if reply.code != 220:
            text = f"{self.host} offered STARTTLS and refused it: {reply.code} {reply.text}"
            raise TlsTrouble(text, TlsResult.STARTTLS_NOT_SUPPORTED)
        if self._wire.pending:
            raise TlsTrouble(f"{self.host} sent bytes in clear after STARTTLS", TlsResult.VALIDATION_FAILURE)
        await self.begin_tls(context, server_name, check)
        await self._hello(hostname)

    async def begin_tls(
        self, context: ssl.SSLContext, server_name: str = "", check: Callable[[ssl.SSLObject], None] | None = None
    ) -> None:
        """The handshake alone: before the greeting where TLS comes first (RFC 8314 3.3), else after STARTTLS.

        `server_name` is asked for in the place of the host's name; `check` looks at the session before anything is said in it,
        and raises `TlsTrouble` when it does not like it.
        """
        try:
            async with asyncio.timeout(_HANDSHAKE_SECONDS):
                shaken = await self._wire.start_tls(context, server_name or self.host)
        except ssl.SSLCertVerificationError as error:
            text = f"the certificate of {self.host} is not trusted: {error.verify_message}"
            raise TlsTrouble(text, _CERTIFICATE_RESULTS.get(error.verify_code, TlsResult.NOT_TRUSTED)) from error
        except (OSError, ValueError) as error:  # ValueError: a host name that TLS cannot carry
            reason = getattr(error, "reason", None) or type(error).__name__
            text = f"TLS handshake with {self.host} failed: {reason}"
            raise TlsTrouble(text, TlsResult.VALIDATION_FAILURE, unreachable=True) from error
        if check is not None:
            check(shaken)
        cipher = shaken.cipher()
        self.tls = f"{shaken.version()} {cipher[0] if cipher else ''}".strip()

    async def command(self, line: bytes) -> Reply:
        """One command, one reply."""
        replies, trouble = await self.commands([line])
        if trouble is not None:
            raise trouble
        return replies[0]

    async def rest(self) -> bool:
        """End a transaction that nothing came of; whether the host agrees."""
        self.at_rest = (await self.command(b"RSET")).positive
        return self.at_rest

    async def commands(self, lines: Sequence[bytes]) -> tuple[list[Reply], HostTrouble | None]:
        """Commands in one go when the host takes PIPELINING, else one after the other.

        The replies, fewer than commands when the host broke off (421 included), and then how it did.
        """
        pipelining = "PIPELINING" in self.extensions
        if pipelining:
            self._wire.write(b"".join(line + b"\r\n" for line in lines))
        replies: list[Reply] = []
        try:
            for line in lines:
                if not pipelining:
                    self._wire.write(line + b"\r\n")
                reply = await self._wire.reply(COMMAND_SECONDS)
                if reply.code == 421:  # RFC 5321 3.8: it closes the connection
                    return replies, self._refused(reply, "broke off")
                replies.append(reply)
        except HostTrouble as trouble:
            return replies, trouble
        return replies, None

    async def send(self, data: bytes) -> Reply | None:
        """A part of the message. A reply before its end means the host wants no more of it."""
        self._wire.write(data)
        await self._wire.drained(DATA_BLOCK_SECONDS)
        return self._wire.early_reply()

    def await_verdict(self, heard: Callable[[Reply], None]) -> None:
        """Call `heard` with the next reply at the instant its bytes arrive, before whoever awaits it. It raises nothing."""
        self._wire.heard = heard

    async def end_of_data(self) -> Reply:
        """The answer to the whole message."""
        return await self._wire.reply(DATA_END_SECONDS)

    @property
    def channel(self) -> TlsChannel:
        """What its TLS tells about itself, for logins bound to it."""
        return self._wire.channel

    @property
    def has_unread(self) -> bool:
        """Whether the host said something that nobody asked for."""
        return self._wire.pending

    @property
    def is_over(self) -> bool:
        """Whether it is known to be closed."""
        return self._wire.is_over

    def limit(self, name: str) -> int:
        """What the host says about one of its limits (RFC 9422: MAILMAX, RCPTMAX, RCPTDOMAINMAX); 0 when it says nothing."""
        for word in self.extensions.get("LIMITS", "").split():
            key, _, value = word.partition("=")
            if key.upper() == name and value.isdecimal() and len(value) <= 6:
                return int(value)
        return 0

    def leave(self) -> None:
        """Say goodbye; nobody waits for the answer, and after a few seconds the connection is dropped."""
        self._wire.leave()

    def close(self) -> None:
        """Drop the connection."""
        self._wire.abort()

    async def _hello(self, hostname: str) -> None:
        self.extensions = {}
        reply = await self.command(b"EHLO " + hostname.encode("ascii"))
        if reply.positive:
            for line in reply.lines[1:]:
                keyword, _, parameters = line.partition(" ")
                self.extensions[keyword.upper()] = parameters
            return
        if reply.code // 100 == 5 and not self.tls:
            reply = await self.command(b"HELO " + hostname.encode("ascii"))
        if not reply.positive:
            raise self._refused(reply, "refused our greeting")

    def _refused(self, reply: Reply, what: str) -> HostTrouble:
        said = f"{reply.code} {reply.text}"
        return HostTrouble(reply.code, reply.enhanced, f"{self.host} {what}: {said}", said=said)


class _Wire(asyncio.Protocol):
    """Bytes in both directions; errors of the connection become `HostTrouble` where somebody waits."""

    def __init__(self) -> None:
        self._reader = ReplyReader()
        self._taken: Reply | None = None
        """A reply that `heard` has had."""
        self.heard: Callable[[Reply], None] | None = None
        self._transport: asyncio.Transport | None = None
        self._trouble: HostTrouble | None = None
        self._arrived: asyncio.Future[None] | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self._drained: asyncio.Future[None] | None = None

    @property
    def pending(self) -> bool:
        return self._taken is not None or self._reader.pending

    @property
    def is_over(self) -> bool:
        return self._trouble is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            if self.heard is not None and (reply := self._reader.next_reply()) is not None:
                self._taken, heard, self.heard = reply, self.heard, None
                heard(reply)
        except ProtocolError as error:
            self._end(HostTrouble(451, "4.5.0", error.public_text))
            self.abort()
        self._wake()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(HostTrouble(451, "4.4.2", "the server closed the connection"))
        if self._leaving is not None:
            self._leaving.cancel()
        self._wake()

    def pause_writing(self) -> None:
        if self._trouble is None and self._drained is None:
            self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        waiting, self._drained = self._drained, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def write(self, data: bytes) -> None:
        if self._trouble is None and self._transport is not None:
            self._transport.write(data)

    async def drained(self, seconds: float) -> None:
        """Until there is room for more."""
        if self._drained is None:
            return
        timer = asyncio.get_running_loop().call_later(seconds, self._late)
        try:
            await self._drained
        finally:
            timer.cancel()

    async def reply(self, seconds: float) -> Reply:
        """The next reply."""
        if (reply := self.early_reply()) is not None:
            return reply
        loop = asyncio.get_running_loop()
        timer = loop.call_later(seconds, self._late)  # a tenth of what a timeout's context costs, four times a message
        try:
            while True:
                self._arrived = loop.create_future()
                try:
                    await self._arrived
                finally:
                    self._arrived = None
                if (reply := self.early_reply()) is not None:
                    return reply
        finally:
            timer.cancel()

    def early_reply(self) -> Reply | None:
        """A reply that has already arrived; replies before the end of the connection still count."""
        if (taken := self._taken) is not None:
            self._taken = None
            return taken
        try:
            reply = self._reader.next_reply()
        except ProtocolError as error:
            self.abort()
            raise HostTrouble(451, "4.5.0", error.public_text) from error
        if reply is None and self._trouble is not None:
            raise self._trouble
        return reply

    async def start_tls(self, context: ssl.SSLContext, server_hostname: str) -> ssl.SSLObject:
        loop = asyncio.get_running_loop()
        assert self._transport is not None
        transport = await loop.start_tls(self._transport, self, context, server_hostname=server_hostname)
        if transport is None:
            raise ConnectionResetError("closed during the handshake")
        self._transport = transport
        self._reader = ReplyReader()
        shaken: ssl.SSLObject = transport.get_extra_info("ssl_object")
        return shaken

    @property
    def channel(self) -> TlsChannel:
        return TlsChannel.of(self._transport)

    def leave(self) -> None:
        self.write(b"QUIT\r\n")
        self._leaving = asyncio.get_running_loop().call_later(_QUIT_SECONDS, self.abort)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _end(self, trouble: HostTrouble) -> None:
        self._trouble = self._trouble or trouble
        self.heard = None
        self.resume_writing()

    def _late(self) -> None:
        self._end(HostTrouble(451, "4.4.2", "the server did not answer in time"))
        self.abort()
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)
