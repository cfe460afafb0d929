"""The real POP3 service on a loopback socket, with a real store and three accounts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from mailbox_app.accounts.sasl import Sasl
from mailbox_app.clock import Clock, SystemClock
from mailbox_app.config.schema import Config, Listen, Server, Tls
from mailbox_app.db.offload import Offload
from mailbox_app.events.bus import LocalBus
from mailbox_app.ids import AccountRef, MailboxId, Uid
from mailbox_app.net.tls import TlsContexts
from mailbox_app.observe.metrics import Metrics
from mailbox_app.services.pop3.dependencies import Pop3Dependencies
from mailbox_app.services.pop3.server import Pop3Service
from mailbox_app.store.interface import Account, Content, NewMessage
from mailbox_app.store.maildir.backend import MaildirStore
from mailbox_app.store.model import FlagMode, SystemFlag
from tests.support.known_passwords import KnownPasswords, QuickClock

INTERNAL_SECONDS = 1_700_000_000


class Pop3Server:
    """A running service."""

    def __init__(self, service: Pop3Service, store: MaildirStore, server: asyncio.Server, bus: LocalBus) -> None:
        self.service = service
        self.store = store
        self.server = server
        self.bus = bus
        self.port: int = server.sockets[0].getsockname()[1]
        self.passwords = KnownPasswords()

    def ref(self, name: str = "alice") -> AccountRef:
        account = next(
            each for each in map(self.passwords.account_by_id, (1, 2, 3)) if each and each.ref.localpart == name
        )  # type: ignore[arg-type]
        return account.ref

    def account(self, name: str = "alice") -> Account:
        return self.store.account(self.ref(name))

    def inbox(self, name: str = "alice") -> MailboxId:
        return self.account(name).mailbox("INBOX").mailbox_id

    def add(self, data: bytes, name: str = "alice") -> Uid:
        staged = self.store.stage(self.ref(name), Content(b"", data, len(data)))
        (added,) = self.account(name).append([NewMessage(staged, "INBOX", internal_seconds=INTERNAL_SECONDS)])
        assert not isinstance(added, Exception)
        return added.uid

    def remove(self, uid: int, name: str = "alice") -> None:
        """As an IMAP session would."""
        account, inbox = self.account(name), self.inbox(name)
        account.store_flags(inbox, [Uid(uid)], FlagMode.ADD, int(SystemFlag.DELETED))
        account.expunge(inbox, [Uid(uid)])

    def uids(self, name: str = "alice") -> list[int]:
        return list(self.account(name).sizes(self.inbox(name)).uids)


@asynccontextmanager
async def pop3_server(
    folder: Path, *, require_tls: bool = False, clock: Clock | None = None
) -> AsyncIterator[Pop3Server]:
    """Start it, stop it."""
    bus = LocalBus()
    bus.bind(asyncio.get_running_loop())
    store = MaildirStore(folder, bus, hostname="mail.example.org", clock=SystemClock())
    offload = Offload(4)
    config = Config(server=Server(hostname="mail.example.org"), listen=Listen(), tls=Tls(require_tls=require_tls))
    passwords = KnownPasswords()
    service = Pop3Service(
        Pop3Dependencies(
            store=store,
            authenticator=passwords,
            sasl=Sasl(passwords, require_tls=require_tls),
            account_by_id=passwords.account_by_id,
            tls=TlsContexts(config.tls, folder, "mail.example.org"),
            offload=offload,
            bus=bus,
            clock=clock or QuickClock(),
            config=config,
            metrics=Metrics(),
            log=structlog.get_logger("pop3"),
        )
    )
    server = await asyncio.get_running_loop().create_server(service.factory("pop3"), "127.0.0.1", 0)
    running = Pop3Server(service, store, server, bus)
    running.passwords = passwords
    try:
        yield running
    finally:
        server.close()
        await service.drain(2.0)
        offload.close()
        store.close()
