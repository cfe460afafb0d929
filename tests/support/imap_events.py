"""The IMAP service over a filtered world: commands by a client, then whatever the scripts for events do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from mailbox_app.accounts.sasl import Sasl
from mailbox_app.config.schema import Config, Limits, Listen, Server, Tls
from mailbox_app.db.offload import Offload
from mailbox_app.delivery.mailbox_scripts import MailboxScripts
from mailbox_app.events.bus import LocalBus
from mailbox_app.net.tls import TlsContexts
from mailbox_app.observe.metrics import Metrics
from mailbox_app.services.imap.dependencies import ImapDependencies
from mailbox_app.services.imap.server import ImapService
from mailbox_app.store.search.index import SearchIndex
from tests.support.filtered import ALICE, FilteredWorld, filtered_world
from tests.support.known_passwords import KnownPasswords, QuickClock


class DirectoryPasswords(KnownPasswords):
    """The world's accounts, each with the one password."""

    def __init__(self, world: FilteredWorld) -> None:
        super().__init__()
        self._accounts = {name: world.account(f"{name}@example.org") for name in ("alice", "bob")}


class EventsWorld:
    """One world, its IMAP port, and what runs the scripts."""

    def __init__(self, mail: FilteredWorld, service: ImapService, scripts: MailboxScripts, port: int) -> None:
        self.mail = mail
        self.service = service
        self.scripts = scripts
        self.port = port

    def script(self, source: str, name: str = "events", mailbox: str | None = "INBOX", address: str = ALICE) -> None:
        """A script of the account; named by the mailbox (None: by the account)."""
        ref = self.mail.account(address).ref
        self.mail.smtp.filters.scripts.put(ref, name, source.encode())
        self.bind(name, mailbox, address)

    def bind(self, name: str, mailbox: str | None, address: str = ALICE) -> None:
        ref = self.mail.account(address).ref
        number = 0 if mailbox is None else self.mail.stored(address).mailbox(mailbox).mailbox_id
        self.mail.store.notes(ref).annotate(number, {"/shared/imapsieve/script": name.encode()})  # type: ignore[arg-type]

    async def settled(self) -> None:
        """Until nothing waits."""
        await self.scripts.drain(10.0)

    async def commands(self, *lines: str, user: str = "alice") -> list[str]:
        """Log in, say these one after the other (a literal is a line with {n+} and what follows); all answers."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        answers = [(await reader.readline()).decode()]
        for number, line in enumerate((f"LOGIN {user} secret", *lines)):
            writer.write(f"t{number} {line}\r\n".encode())
            await writer.drain()
            while True:
                async with asyncio.timeout(10):
                    answer = (await reader.readline()).decode()
                assert answer, answers
                answers.append(answer.rstrip("\r\n"))
                if answer.startswith(f"t{number} "):
                    break
        writer.close()
        await self.settled()
        return answers


@asynccontextmanager
async def events_world(path: Path) -> AsyncIterator[EventsWorld]:
    async with filtered_world(path) as mail:
        offload = Offload(4)
        scripts = MailboxScripts(mail.store, mail.smtp.filters, mail.smtp.inbound.carrier, offload)
        passwords = DirectoryPasswords(mail)
        config = Config(
            server=Server(hostname="mail.example.org"),
            listen=Listen(),
            tls=Tls(require_tls=False),
            limits=Limits(max_message_bytes=100_000),
        )
        service = ImapService(
            ImapDependencies(
                store=mail.store,
                authenticator=passwords,
                sasl=Sasl(passwords, require_tls=False),
                account_by_id=passwords.account_by_id,
                account_by_address=passwords.account_by_address,
                tls=TlsContexts(config.tls, path, "mail.example.org"),
                offload=offload,
                bus=LocalBus(),
                clock=QuickClock(),
                config=config,
                metrics=Metrics(),
                log=structlog.get_logger("imap"),
                search_index=SearchIndex(path),
                events=scripts,
                sieve_url="sieve://mail.example.org",
            )
        )
        server = await asyncio.get_running_loop().create_server(service.factory("imap"), "127.0.0.1", 0)
        working = asyncio.create_task(scripts.run())
        try:
            yield EventsWorld(mail, service, scripts, server.sockets[0].getsockname()[1])
        finally:
            server.close()
            await service.drain(2.0)
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            offload.close()
