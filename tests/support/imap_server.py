"""The real IMAP service on a loopback socket, with a real store and one or two accounts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from mailbox_app.accounts.model import Account, AccountState
from mailbox_app.clock import Clock, SystemClock
from mailbox_app.config.schema import Config, Limits, Listen, Server, Tls
from mailbox_app.db.offload import Offload
from mailbox_app.events.bus import LocalBus
from mailbox_app.ids import AccountId
from mailbox_app.net.tls import TlsContexts
from mailbox_app.observe.metrics import Metrics
from mailbox_app.services.imap.dependencies import ImapDependencies
from mailbox_app.services.imap.server import ImapService
from mailbox_app.store.maildir.backend import MaildirStore

PASSWORD = "secret"


class KnownPasswords:
    """Lets alice and bob in with one password, and a full-up account."""

    def __init__(self, quota_bytes: int = 0) -> None:
        created = datetime(2026, 1, 5, tzinfo=UTC)
        self._accounts = {
            name: Account(AccountId(number), f"{name}@example.org", AccountState.ACTIVE, quota, created)
            for number, (name, quota) in enumerate((("alice", quota_bytes), ("bob", 0), ("full", 10)), 1)
        }

    async def login(self, address: str, password: str, *, protocol: str, remote_ip: str) -> Account | None:
        account = self._accounts.get(address.partition("@")[0])
        return account if password == PASSWORD else None

    def account_by_id(self, account_id: AccountId) -> Account | None:
        return next((account for account in self._accounts.values() if account.account_id == account_id), None)

    def account_by_address(self, address: str) -> Account | None:
        return next((account for account in self._accounts.values() if account.address == address), None)

    def new_password(self, name: str) -> None:
        account = self._accounts[name]
        self._accounts[name] = replace(account, credential_version=account.credential_version + 1)

    def disable(self, name: str) -> None:
        self._accounts[name] = replace(self._accounts[name], state=AccountState.DISABLED)


class QuickClock(SystemClock):
    """Real time, but waiting for less than three seconds takes no time."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0 if seconds < 3 else seconds)


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
            account_by_id=passwords.account_by_id,
            account_by_address=passwords.account_by_address,
            tls=TlsContexts(config.tls, folder, "mail.example.org"),
            offload=offload,
            bus=bus,
            clock=clock or QuickClock(),
            config=config,
            metrics=Metrics(),
            log=structlog.get_logger("imap"),
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
