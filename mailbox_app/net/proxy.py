"""Listeners behind proxies: reads the PROXY header before anything else, TLS included, and tells sessions who their client is.

Only used where proxies are configured. A connection from a proxy must begin with a header, within `HEADER_SECONDS`; one from
anywhere else must not have one. Whoever breaks that is cut off, and the log says in plain words what to change. The header is
taken off the socket to the byte, so that the transport above it begins where the client begins. A proxy that speaks for
itself (its health checks) stays its own client.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Protocol, cast

import structlog

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.proxy_header import MAX_BYTES, ProxyHeader, is_header, parse

HEADER_SECONDS = 10.0
_MAX_OPENING = 2_000
"""Connections that have not got as far as a session; one more is closed at once."""
_PAUSE_SECONDS = 1.0
"""After a failure of accept: mostly too many open files."""


class Proxied(Protocol):
    """What a session's protocol object has for us."""

    proxied_ip: str
    """Who the client is, by a header that is believed; empty: whoever the socket says."""


Factory = Callable[[], asyncio.BaseProtocol]


class TrustedProxies:
    """Whose headers are believed."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(each) for each in networks]

    def __contains__(self, remote_ip: str) -> bool:
        try:
            address = ipaddress.ip_address(remote_ip.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address.version == each.version and address in each for each in self._networks)


class ProxiedListener:
    """Accepts on one socket; `close` like a server of asyncio."""

    def __init__(
        self,
        service: str,
        listener: socket.socket,
        factory: Factory,
        proxies: TrustedProxies,
        tls: Callable[[], ssl.SSLContext] | None,
        *,
        handshake_seconds: float,
        shutdown_seconds: float,
    ) -> None:
        """`tls`: the context of implicit TLS, asked for at each connection."""
        self._service = service
        self._listener = listener
        self._factory = factory
        self._proxies = proxies
        self._tls = tls
        self._handshake_seconds = handshake_seconds
        self._shutdown_seconds = shutdown_seconds
        self._opening: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("proxy")

    def start(self) -> None:
        """Accept from now on."""
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Accept nothing more; sessions go on."""
        for task in (self._accepting, *self._opening):
            if task is not None:
                task.cancel()

    async def _accept(self) -> None:
        try:
            await self._accept_all()
        finally:
            self._listener.close()

    async def _accept_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(self._listener)
            except OSError as error:
                self._log.error("cannot accept connections", service=self._service, error=error.strerror)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if len(self._opening) >= _MAX_OPENING:
                connection.close()
                continue
            task = loop.create_task(self._open(connection, str(address[0])))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket, remote_ip: str) -> None:
        try:
            connection.setblocking(False)
            client_ip = await self._client_of(connection, remote_ip)
            await self._hand_over(connection, remote_ip, client_ip)
        except (OSError, ssl.SSLError) as error:  # TimeoutError is one, too
            self._log.debug("connection not opened", service=self._service, remote=remote_ip, error=str(error))
            connection.close()
        except ProtocolError as error:
            self._log.warning(error.public_text, service=self._service, remote=remote_ip)
            connection.close()
        except BaseException:
            connection.close()
            raise

    async def _client_of(self, connection: socket.socket, remote_ip: str) -> str:
        """Who the header says the client is; empty: the address of the socket."""
        if remote_ip in self._proxies:
            try:
                async with asyncio.timeout(HEADER_SECONDS):
                    return (await read_header(connection)).client_ip
            except (ProtocolError, TimeoutError) as error:
                reason = error.public_text if isinstance(error, ProtocolError) else "none came in time"
                text = f"a proxy in proxy.trusted_networks must send a PROXY header, but {reason}: connection closed"
                raise ProtocolError("proxy.no_header", text) from error
        if self._tls is not None:  # here the client speaks first, and the handshake would only fail without a word
            async with asyncio.timeout(self._handshake_seconds):
                if is_header(await _look(connection)):
                    raise _not_trusted()
        return ""

    async def _hand_over(self, connection: socket.socket, remote_ip: str, client_ip: str) -> None:
        loop = asyncio.get_running_loop()

        def session() -> asyncio.BaseProtocol:
            made = self._factory()
            cast("Proxied", made).proxied_ip = client_ip
            return made

        if self._tls is not None:
            await loop.connect_accepted_socket(
                session,
                connection,
                ssl=self._tls(),
                ssl_handshake_timeout=self._handshake_seconds,
                ssl_shutdown_timeout=self._shutdown_seconds,
            )
        elif client_ip:
            await loop.connect_accepted_socket(session, connection)
        else:
            await loop.connect_accepted_socket(lambda: _FirstBytes(session, self._refuse), connection)

    def _refuse(self, remote_ip: str) -> None:
        self._log.warning(_not_trusted().public_text, service=self._service, remote=remote_ip)


class _FirstBytes(asyncio.Protocol):
    """Looks at the first bytes of a client without proxy, then steps aside for the session."""

    def __init__(self, factory: Factory, refuse: Callable[[str], None]) -> None:
        self._session = cast("asyncio.Protocol", factory())
        self._refuse = refuse
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._session.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if is_header(data):
            peer = self._transport.get_extra_info("peername")
            self._refuse(str(peer[0]) if peer else "")
            self._transport.abort()
            return
        self._transport.set_protocol(self._session)
        self._session.data_received(data)

    def eof_received(self) -> bool | None:
        return self._session.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._session.connection_lost(exc)

    def pause_writing(self) -> None:
        self._session.pause_writing()

    def resume_writing(self) -> None:
        self._session.resume_writing()


async def read_header(connection: socket.socket) -> ProxyHeader:
    """Take the header off a socket, not one byte more."""
    loop = asyncio.get_running_loop()
    data = b""
    while True:
        seen = await _look(connection, MAX_BYTES - len(data))
        if not seen:
            raise ProtocolError("proxy.bad_header", "the connection ended within the header")
        header = parse(data + seen)
        wanted = len(seen) if header is None else header.length - len(data)
        taken = await loop.sock_recv(connection, wanted)
        data += taken
        if header is not None and len(data) == header.length:
            return header


async def _look(connection: socket.socket, size: int = MAX_BYTES) -> bytes:
    """What waits in the socket, once anything does; it stays there."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return connection.recv(size, socket.MSG_PEEK)
        except BlockingIOError:
            readable = asyncio.Event()
            loop.add_reader(connection.fileno(), readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(connection.fileno())


def _not_trusted() -> ProtocolError:
    text = "a PROXY header came from an address that is not in proxy.trusted_networks: connection closed"
    return ProtocolError("proxy.not_trusted", text)
