"""A front: the sessions of one process, on its own sockets. Any front serves any account."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from socket import AF_UNIX, socket

from mailbox_app.config.schema import Config
from mailbox_app.delivery.mailbox_scripts import MailboxScripts
from mailbox_app.events.hub import HubClient
from mailbox_app.net.proxy import ProxiedListener, TrustedProxies
from mailbox_app.net.tls import TlsContexts
from mailbox_app.runtime.daemon import IMPLICIT_TLS
from mailbox_app.runtime.process import Spawn
from mailbox_app.services.imap.server import ImapService
from mailbox_app.services.managesieve.server import ManageSieveService
from mailbox_app.services.pop3.server import Pop3Service
from mailbox_app.services.smtp.server import SmtpService

_HANDSHAKE_SECONDS = 20.0
_REST_SECONDS = 1.0
_BACKLOG = 1024
_SCRIPTS_SECONDS = 2.0
"""What the last commands caused; usually nothing."""
_TLS_SHUTDOWN_SECONDS = 1.0
"""For the peer to answer our goodbye; it holds up a stop, and nothing is lost without it."""


class Front:
    """A `Part`. `hub` is None where one process is everything."""

    def __init__(
        self,
        smtp: SmtpService,
        lmtp: SmtpService,
        imap: ImapService,
        pop3: Pop3Service,
        managesieve: ManageSieveService,
        tls: TlsContexts,
        configure_logins: Callable[[Config], None],
        hub: HubClient | None,
        sockets: Sequence[tuple[str, socket]],
        imap_listener: socket,
        let_go: Callable[[], Awaitable[None]],
        close_stores: Callable[[], None],
        proxies: Sequence[str] = (),
        mailbox_scripts: MailboxScripts | None = None,
        submit_listener: socket | None = None,
    ) -> None:
        self._submit_listener = submit_listener
        self._smtp = smtp
        self._lmtp = lmtp
        self._imap = imap
        self._pop3 = pop3
        self._managesieve = managesieve
        self._tls = tls
        self._configure_logins = configure_logins
        self._hub = hub
        self._sockets = sockets
        self._imap_listener = imap_listener
        self._let_go = let_go
        self._close_stores = close_stores
        self._proxies = proxies
        self._mailbox_scripts = mailbox_scripts
        self._servers: list[asyncio.Server | ProxiedListener] = []

    async def start(self, spawn: Spawn) -> None:
        """Accept on every socket."""
        if self._hub is not None:
            spawn(self._hub.run())
        if self._mailbox_scripts is not None:
            spawn(self._mailbox_scripts.run())
        for service, sock in self._sockets:
            self._servers.append(await self._listen(service, sock))
        preauth = self._imap.factory("preauth")
        self._servers.append(
            await asyncio.get_running_loop().create_unix_server(preauth, sock=self._imap_listener, backlog=_BACKLOG)
        )
        if self._submit_listener is not None:
            self._servers.append(
                await asyncio.get_running_loop().create_unix_server(
                    self._smtp.factory("local"), sock=self._submit_listener, backlog=_BACKLOG
                )
            )
        spawn(self._rest())

    def reload(self, config: Config) -> None:
        """New limits and certificate for what comes from now on."""
        self._configure_logins(config)
        self._tls.reload(config.tls)
        self._smtp.reload(config)
        self._lmtp.reload(config)
        self._imap.reload(config)
        self._pop3.reload(config)
        self._managesieve.reload(config)

    async def stop(self, seconds: float) -> None:
        """Accept nothing more; 421, BYE, -ERR and BYE to the sessions."""
        for server in self._servers:
            server.close()
        services = (self._smtp, self._lmtp, self._imap, self._pop3, self._managesieve)
        await asyncio.gather(*(service.drain(seconds) for service in services))
        if self._mailbox_scripts is not None:
            await self._mailbox_scripts.drain(min(seconds, _SCRIPTS_SECONDS))

    def close(self) -> None:
        """Wait for calls under way, close the databases."""
        self._close_stores()

    async def _rest(self) -> None:
        """Idle sessions hold no database handle, and neither does an idle front."""
        while True:
            await asyncio.sleep(_REST_SECONDS)
            await self._let_go()

    async def _listen(self, service: str, sock: socket) -> asyncio.Server | ProxiedListener:
        loop = asyncio.get_running_loop()
        factory = self._factory(service)
        if self._proxies and sock.family != AF_UNIX:
            return self._listen_behind_proxies(service, sock, factory)
        if sock.family == AF_UNIX:
            return await loop.create_unix_server(factory, sock=sock, backlog=_BACKLOG)
        if service not in IMPLICIT_TLS:
            return await loop.create_server(factory, sock=sock, backlog=_BACKLOG)
        context: ssl.SSLContext = self._tls.server_context()
        return await loop.create_server(
            factory,
            sock=sock,
            backlog=_BACKLOG,
            ssl=context,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=_TLS_SHUTDOWN_SECONDS,
        )

    def _listen_behind_proxies(
        self, service: str, sock: socket, factory: Callable[[], asyncio.BaseProtocol]
    ) -> ProxiedListener:
        listener = ProxiedListener(
            service,
            sock,
            factory,
            TrustedProxies(self._proxies),
            self._tls.server_context if service in IMPLICIT_TLS else None,
            handshake_seconds=_HANDSHAKE_SECONDS,
            shutdown_seconds=_TLS_SHUTDOWN_SECONDS,
        )
        listener.start()
        return listener

    def _factory(self, service: str) -> Callable[[], asyncio.BaseProtocol]:
        match service:
            case "smtp" | "submission" | "submissions":
                return self._smtp.factory(service)
            case "lmtp":
                return self._lmtp.factory(service)
            case "imap" | "imaps":
                return self._imap.factory(service)
            case "pop3" | "pop3s":
                return self._pop3.factory(service)
            case "managesieve":
                return self._managesieve.factory(service)
        raise AssertionError(service)
