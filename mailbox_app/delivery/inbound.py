"""Into mailboxes and, for what must wait or leave, into the queue. A return means durable for every recipient.

Outside addresses are queued first: what fails there can still be answered with a 4xx before anybody has a copy. Local
recipients share one staged file (hard links) and, per account, one commit with everything else that arrives. A recipient whose
mailbox cannot take the message now waits in the queue for the local transport while others have their copy; if nobody could be
served, the error is raised. In the worst case (others stored, then the queue fails too) the answer is 4xx as well: a duplicate
is possible, a loss is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from mailbox_app.accounts.model import Account
from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.delivery.forwarding import Forwarder
from mailbox_app.delivery.mail import Body, Delivered, Mail, Recipient
from mailbox_app.errors import MailboxError, StoreError
from mailbox_app.ids import AccountId, AccountRef, QueueId
from mailbox_app.mailqueue.interface import QueueBackend
from mailbox_app.mailqueue.model import Envelope, NewRecipient
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.observe.metrics import Metrics
from mailbox_app.proto.smtp.replies import Reply, reply_for
from mailbox_app.store.appender import Appender
from mailbox_app.store.interface import Content, Staged, Store

_UNEXPECTED = StoreError("store.failed", "the mailbox cannot take mail now", temporary=True)


class Inbound:
    """Delivers. One object per process: its group commits only share what goes through it."""

    def __init__(
        self,
        store: Store,
        queue: QueueBackend,
        spool: Spool,
        offload: Offload,
        clock: Clock,
        metrics: Metrics,
        forwarder: Forwarder,
    ) -> None:
        self._forwarder = forwarder
        self._store = store
        self._queue = queue
        self._spool = spool
        self._offload = offload
        self._clock = clock
        self._metrics = metrics
        self._appender = Appender(store, offload)
        self._log = structlog.get_logger("delivery")

    async def deliver(self, mail: Mail) -> Delivered:
        """Serve every recipient, each account once; a `MailboxError` when nobody could be served."""
        plan = await self._forwarder.plan(mail)
        queued: list[tuple[QueueId, Sequence[str]]] = []
        for copy in plan.copies:
            leaving = replace(mail, envelope=copy.envelope, prefix=copy.prefix)
            queued.append(await self._enqueue(leaving, copy.recipients))
        accounts: dict[AccountId, tuple[Account, Recipient]] = {}
        for recipient in plan.mail.recipients:
            for account in recipient.accounts:
                accounts.setdefault(account.account_id, (account, recipient))
        pairs = list(accounts.values())
        errors = await self.append([account for account, _ in pairs], mail.envelope.sender, mail.prefix, mail.body)
        waiting: list[NewRecipient] = []
        stored: list[str] = []
        for (account, recipient), error in zip(pairs, errors, strict=True):
            if error is None:
                stored.append(account.address)
            else:
                reason = str(self._answer(error))
                waiting.append(NewRecipient(account.address, "local", recipient.notify, recipient.orcpt, reason))
        if waiting:
            if not stored and not queued:
                raise _gravest(errors)
            queued.append(await self._enqueue(mail, waiting))
        return Delivered(stored, queued, filings=plan.filings)

    async def append(
        self, accounts: Sequence[Account], sender: str, prefix: bytes, body: Body
    ) -> Sequence[Exception | None]:
        """Into each account's INBOX, below a Return-Path; None where it is durable, else the error, in order."""
        if not accounts:
            return ()
        prefix = f"Return-Path: <{sender}>\r\n".encode() + prefix  # RFC 5321 4.4
        size_bytes = len(prefix) + (len(body) if isinstance(body, bytes) else body.seek(0, 2))
        refs = [account.ref for account in accounts]
        content = Content(prefix, body, size_bytes)
        if len(refs) == 1:
            return [await self._append(refs[0], content)]
        try:
            staged = await self._offload.run(self._stage_all, refs, content)
        except StoreError as error:
            return [error] * len(refs)
        return await asyncio.gather(*map(self._append, refs, staged))

    async def _append(self, ref: AccountRef, message: Content | Staged | Exception) -> Exception | None:
        if isinstance(message, Exception):
            return message
        try:
            await self._appender.append(ref, message)
        except Exception as error:  # noqa: BLE001 - one recipient's trouble is not the others'; `_answer` logs it
            return error
        return None

    def _stage_all(self, refs: Sequence[AccountRef], content: Content) -> Sequence[Staged | Exception]:
        """One file, linked into every further account."""
        first = self._store.stage(refs[0], content)
        staged: list[Staged | Exception] = [first]
        for ref in refs[1:]:
            try:
                staged.append(self._store.link(first, ref))
            except StoreError as error:
                staged.append(error)
        return staged

    async def _enqueue(self, mail: Mail, recipients: Sequence[NewRecipient]) -> tuple[QueueId, Sequence[str]]:
        queue_id = await self._offload.run(self._write_queue, mail.envelope, recipients, mail.prefix, mail.body)
        return queue_id, [recipient.address for recipient in recipients]

    def _write_queue(
        self, envelope: Envelope, recipients: Sequence[NewRecipient], prefix: bytes, body: Body
    ) -> QueueId:
        spool = self._spool.write(prefix, body)
        try:
            return self._queue.enqueue(envelope, recipients, spool, self._clock.now())
        except BaseException:
            self._spool.discard(spool.path)
            raise

    def _answer(self, error: Exception) -> Reply:
        """The reply that stands for an error; an unexpected one is logged and counted."""
        if isinstance(error, MailboxError):
            if error.code == "store.over_quota":
                self._metrics.quota_exceeded.inc()
            return reply_for(error)
        self._metrics.errors.inc()
        self._log.error("append_failed", exc_info=error)
        return reply_for(_UNEXPECTED)


def _gravest(errors: Sequence[Exception | None]) -> MailboxError:
    """The error to answer with: any other trouble before a full mailbox."""
    found = [error if isinstance(error, MailboxError) else _UNEXPECTED for error in errors if error is not None]
    return min(found, key=lambda error: error.code == "store.over_quota")
