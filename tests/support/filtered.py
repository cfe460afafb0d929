"""An SMTP world over real Maildirs, with filter scripts to put and mailboxes to look into."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailbox_app.accounts.model import Account
from mailbox_app.clock import Clock
from mailbox_app.config.schema import Sieve
from mailbox_app.delivery.mail import Delivered, Mail
from mailbox_app.events.bus import LocalBus
from mailbox_app.mailqueue.model import Envelope, QueuedMessage
from mailbox_app.policy.verdict import Judgement
from mailbox_app.proto.smtp.commands import RcptCommand
from mailbox_app.store.interface import Account as StoredAccount
from mailbox_app.store.maildir.backend import MaildirStore
from tests.support.clock import FakeClock
from tests.support.smtp import HOSTNAME, SmtpWorld, smtp_world

ALICE, BOB, DAVE = "alice@example.org", "bob@example.org", "dave@example.org"
CAROL = "carol@remote.example"
MESSAGE = (
    b"From: Carol <carol@remote.example>\r\nTo: alice@example.org\r\nSubject: lunch\r\n"
    b"Message-ID: <1@remote.example>\r\nDate: Mon, 5 Jan 2026 10:00:00 +0000\r\n\r\nToday?\r\n"
)


@dataclass
class FilteredWorld:
    smtp: SmtpWorld
    store: MaildirStore
    clock: Any
    path: Path

    def account(self, address: str) -> Account:
        found = self.smtp.directory.account(address)
        assert found is not None
        return found

    def stored(self, address: str) -> StoredAccount:
        return self.store.account(self.account(address).ref)

    def script(self, source: str, address: str = ALICE, name: str = "main") -> None:
        ref = self.account(address).ref
        self.smtp.filters.scripts.put(ref, name, source.encode())
        self.smtp.filters.scripts.activate(ref, name)

    def counts(self, address: str = ALICE) -> dict[str, int]:
        """Messages by mailbox, without empty ones."""
        return {info.name: info.message_count for info in self.stored(address).mailboxes() if info.message_count}

    def messages(self, address: str = ALICE, mailbox: str = "INBOX") -> list[bytes]:
        account = self.stored(address)
        info = account.mailbox(mailbox)
        found = []
        for _, file in account.open_messages(info.mailbox_id, [int(uid) for uid in range(1, info.uidnext)]):  # type: ignore[misc]
            assert file is not None
            with file:
                found.append(file.read())
        return found

    def flags(self, mailbox: str, address: str = ALICE) -> list[tuple[int, tuple[str, ...]]]:
        """(system flags, keywords) of each message."""
        account = self.stored(address)
        info = account.mailbox(mailbox)
        rows = account.messages(info.mailbox_id, list(range(1, info.uidnext)))  # type: ignore[arg-type]
        return [
            (row.flags & 0x1F, tuple(word for bit, word in enumerate(info.keywords) if row.flags >> (8 + bit) & 1))
            for row in rows
        ]

    def queued(self) -> list[tuple[str, str, str]]:
        """(envelope sender, recipient, transport) of all that waits, in order."""
        return [(self.envelope(row.queue_id).sender, row.address, row.transport) for row in self.smtp.queued()]

    def envelope(self, queue_id: Any) -> Envelope:
        message: QueuedMessage = self.smtp.queue.message(queue_id)
        return message.envelope

    async def send(
        self,
        *recipients: str,
        content: bytes = MESSAGE,
        sender: str = CAROL,
    ) -> tuple[int, str]:
        client = await self.smtp.connect()
        await client.begin(sender, *(recipients or (ALICE,)))
        reply = await client.content(content)
        client.close()
        return reply

    async def deliver(
        self,
        *recipients: str,
        content: bytes = MESSAGE,
        sender: str = CAROL,
        judgement: Judgement | None = None,
        **how: bool,
    ) -> Delivered:
        found = [
            await self.smtp.recipients.accept(RcptCommand(address), may_relay=False)
            for address in recipients or (ALICE,)
        ]
        mail = Mail(Envelope(sender), found, b"Received: x\r\n", content, len(content) + 13, judgement or Judgement())
        return await self.smtp.inbound.deliver(mail, **how)


@asynccontextmanager
async def filtered_world(
    path: Path, sieve: Sieve | None = None, clock: Clock | None = None
) -> AsyncIterator[FilteredWorld]:
    clock = clock or FakeClock()
    store = MaildirStore(path, LocalBus(), hostname=HOSTNAME, clock=clock)
    async with smtp_world(path, store=store, clock=clock, sieve=sieve) as smtp:
        yield FilteredWorld(smtp, store, clock, path)
    store.close()


def reasons(delivered: Delivered) -> Sequence[str]:
    return [filing.reason for filing in delivered.filings]
