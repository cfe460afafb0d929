"""The real IMAP service on a loopback socket, with a real store and one or two accounts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from mailbox_app.accounts.sasl import Sasl
from mailbox_app.clock import Clock, SystemClock
from mailbox_app.config.schema import Config, Limits, Listen, Server, Tls
from mailbox_app.db.offload import Offload
from mailbox_app.events.bus import LocalBus
from mailbox_app.net.tls import TlsContexts
from mailbox_app.observe.metrics import Metrics
from mailbox_app.services.imap.dependencies import ImapDependencies
from mailbox_app.services.imap.server import ImapService
from mailbox_app.store.maildir.backend import MaildirStore
from mailbox_app.store.search.index import SearchIndex
from tests.support.known_passwords import PASSWORD, KnownPasswords, QuickClock

__all__ = ["PASSWORD", "ImapServer", "KnownPasswords", "QuickClock", "imap_server"]


class ImapServer:
    """A running service."""

    def __init__(
        self,
        service: ImapService,
        store: MaildirStore,
        server: asyncio.Server,
        passwords: KnownPasswords,
        bus: LocalBus,
    ) -> None:
        self.passwords = passwords
        self.bus = bus
        self.service = service
        self.store = store
        self.port: int = server.sockets[0].getsockname()[1]


@asynccontextmanager
async def imap_server(
    folder: Path, *, require_tls: bool = False, max_message_bytes: int = 100_000, clock: Clock | None = None
) -> AsyncIterator[ImapServer]:
    """Start it, stop it."""
    bus = LocalBus()
    bus.bind(asyncio.get_running_loop())
    store = MaildirStore(folder, bus, hostname="mail.example.org", clock=SystemClock())
    offload = Offload(4)
    config = Config(
        server=Server(hostname="mail.example.org"),
        listen=Listen(),
        tls=Tls(require_tls=require_tls),
        limits=Limits(max_message_bytes=max_message_bytes),
    )
    passwords = KnownPasswords()
    service = ImapService(
        ImapDependencies(
            store=store,
            authenticator=passwords,
            sasl=Sasl(passwords, require_tls=require_tls),
            account_by_id=passwords.account_by_id,
            account_by_address=passwords.account_by_address,
            tls=TlsContexts(config.tls, folder, "mail.example.org"),
            offload=offload,
            bus=bus,
            clock=clock or QuickClock(),
            config=config,
            metrics=Metrics(),
            log=structlog.get_logger("imap"),
            search_index=SearchIndex(folder),
        )
    )
    server = await asyncio.get_running_loop().create_server(service.factory("imap"), "127.0.0.1", 0)
    try:
        yield ImapServer(service, store, server, passwords, bus)
    finally:
        server.close()
        await service.drain(2.0)
        offload.close()
        store.close()
