"""The real ManageSieve service on a loopback socket, with real scripts on disk and three accounts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from mailbox_app.accounts.sasl import Proofs, Sasl
from mailbox_app.clock import Clock
from mailbox_app.config.schema import Config, Server, Sieve, Tls
from mailbox_app.db.offload import Offload
from mailbox_app.events.bus import LocalBus
from mailbox_app.ids import AccountRef
from mailbox_app.net.tls import TlsContexts
from mailbox_app.observe.metrics import Metrics
from mailbox_app.services.managesieve.dependencies import ManageSieveDependencies
from mailbox_app.services.managesieve.server import ManageSieveService
from mailbox_app.store.scripts import Scripts
from tests.support.known_passwords import KnownPasswords, QuickClock


class ManageSieveServer:
    """A running service."""

    def __init__(self, service: ManageSieveService, scripts: Scripts, server: asyncio.Server, bus: LocalBus) -> None:
        self.service = service
        self.scripts = scripts
        self.bus = bus
        self.port: int = server.sockets[0].getsockname()[1]
        self.passwords = KnownPasswords()

    def ref(self, name: str = "alice") -> AccountRef:
        account = self.passwords.account_by_address(f"{name}@example.org")
        assert account is not None
        return account.ref


@asynccontextmanager
async def managesieve_server(
    folder: Path, *, require_tls: bool = False, clock: Clock | None = None, proofs: Proofs | None = None
) -> AsyncIterator[ManageSieveServer]:
    """Start it, stop it."""
    bus = LocalBus()
    bus.bind(asyncio.get_running_loop())
    offload = Offload(4)
    config = Config(
        server=Server(hostname="mail.example.org"),
        tls=Tls(require_tls=require_tls),
        sieve=Sieve(max_script_bytes=20_000, max_scripts=3),
    )
    passwords = KnownPasswords()
    scripts = Scripts(folder)
    service = ManageSieveService(
        ManageSieveDependencies(
            scripts=scripts,
            sasl=Sasl(passwords, require_tls=require_tls, proofs=proofs),
            account_by_id=passwords.account_by_id,
            tls=TlsContexts(config.tls, folder, "mail.example.org"),
            offload=offload,
            bus=bus,
            clock=clock or QuickClock(),
            config=config,
            metrics=Metrics(),
            log=structlog.get_logger("managesieve"),
        )
    )
    server = await asyncio.get_running_loop().create_server(service.factory("managesieve"), "127.0.0.1", 0)
    running = ManageSieveServer(service, scripts, server, bus)
    running.passwords = passwords
    try:
        yield running
    finally:
        server.close()
        await service.drain(2.0)
        offload.close()
