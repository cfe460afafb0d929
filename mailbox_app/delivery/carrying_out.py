"""Carries out what the filters decided: copies into mailboxes, redirects and answers into the queue, memories.

Order makes it safe: everything is written and fsynced aside first (staged files, spool files), then each account's copies are
committed all or none, then its redirects get their queue rows. An account that fails has nothing, so it can be filtered anew
from the queue. Answers come last and best effort: one that cannot be queued is noted, the mail is delivered all the same.
The body may be one open file, so all reading happens in one thread, one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from mailbox_app.accounts.model import Account
from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.delivery.filter_context import FilteredMessage
from mailbox_app.delivery.filter_plan import Plan, PlannedAnswer, PlannedCopy
from mailbox_app.delivery.filtering import Filters
from mailbox_app.delivery.forwarding import Copy, Forwarder
from mailbox_app.delivery.mail import Body, Filing, Mail, Recipient
from mailbox_app.errors import MailboxError, StoreError
from mailbox_app.ids import AccountRef, QueueId
from mailbox_app.mailauth.dkim_sign import DkimSigner
from mailbox_app.mailqueue.bounces import without_success
from mailbox_app.mailqueue.interface import QueueBackend
from mailbox_app.mailqueue.model import Envelope, NewRecipient
from mailbox_app.mailqueue.report_signing import ReportSigner
from mailbox_app.mailqueue.spool import Spool, SpoolFile
from mailbox_app.proto.smtp.orcpt import orcpt_of
from mailbox_app.store.appender import INBOX, Appender, Place
from mailbox_app.store.interface import Content, NewMessage, Staged, Store


@dataclass(slots=True)
class Job:
    """One account's part of a message, and what became of it."""

    account: Account
    recipient: Recipient
    plan: Plan
    error: Exception | None = None
    queued: list[tuple[QueueId, Sequence[str]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    answered: list[PlannedAnswer] = field(default_factory=list)
    staged: list[tuple[Staged, Place]] = field(default_factory=list)
    spools: list[tuple[Copy, SpoolFile]] = field(default_factory=list)

    def filings(self) -> list[Filing]:
        """In words for the decision record; the first one has the scripts' steps and what was not done."""
        found = [
            ("stored", "INBOX" if copy.place == INBOX else copy.place.mailbox, copy.reason) for copy in self.plan.copies
        ]
        found += [("redirected", each.address, each.reason) for each in self.plan.redirects]
        found += [(each.kind, ", ".join(each.recipients), each.reason) for each in self.answered]
        if not self.plan.copies and not self.plan.redirects:
            found.insert(0, ("discarded", "", ""))
        notes = "; ".join((*self.plan.notes, *self.notes))
        filings = [Filing(self.account.address, action, target, reason) for action, target, reason in found]
        reason = "; ".join(text for text in (filings[0].reason, notes) if text)
        return [replace(filings[0], reason=reason, steps=self.plan.steps), *filings[1:]]


class Carrier:
    """One object per process: its group commits only share what goes through it."""

    def __init__(
        self,
        store: Store,
        queue: QueueBackend,
        spool: Spool,
        offload: Offload,
        clock: Clock,
        forwarder: Forwarder,
        filters: Filters | None,
    ) -> None:
        self._store = store
        self._queue = queue
        self._spool = spool
        self._offload = offload
        self._clock = clock
        self._forwarder = forwarder
        self._filters = filters
        self._signer = DkimSigner()
        self._appender = Appender(store, offload)
        self._log = structlog.get_logger("delivery")

    async def carry_out(self, mail: Mail, jobs: Sequence[Job]) -> None:
        """Do all of it; a job's error says that nothing of it was done (or that it must be done again)."""
        trace = f"Return-Path: <{mail.envelope.sender}>\r\n".encode()  # RFC 5321 4.4
        count = sum(len(job.plan.copies) for job in jobs)
        leaving = [(job, await self._leaving(mail, job)) for job in jobs if job.plan.redirects]
        if count == 1 and not leaving:
            job = next(job for job in jobs if job.plan.copies)
            copy = job.plan.copies[0]
            job.error = await self._append(job.account.ref, _content(mail, trace, copy.head, copy.rest), copy.place)
        elif count or leaving:
            try:
                await self._offload.run(self._write_aside, mail, trace, jobs, leaving)
            except MailboxError as error:
                for job in jobs:
                    job.error = job.error or error
            await asyncio.gather(*(self._append_all(job) for job in jobs if job.staged))
        for job in jobs:  # one after the other: they may read one file
            if isinstance(job.error, StoreError) and _is_about_the_place(job.error, job.plan):
                job.notes.append(f"{job.error.public_text}: the copy went to INBOX")
                job.plan = replace(job.plan, copies=[PlannedCopy(INBOX)])
                job.error = await self._append(job.account.ref, _content(mail, trace, None, None), INBOX)
        later = [job for job in jobs if job.spools or job.plan.answers or job.plan.remember]
        if later:
            await self._offload.run(self._finish, mail, later)

    async def enqueue(
        self,
        envelope: Envelope,
        recipients: Sequence[NewRecipient],
        prefix: bytes,
        body: Body,
        *,
        due_at: datetime | None = None,
    ) -> tuple[QueueId, Sequence[str]]:
        """One message into the queue, to go at once or at a time; durable on return."""
        queue_id = await self._offload.run(self._write_queue, envelope, recipients, prefix, body, due_at)
        return queue_id, [recipient.address for recipient in recipients]

    async def _leaving(self, mail: Mail, job: Job) -> Sequence[tuple[Copy, Body]]:
        """The redirects as messages for the queue, each with its body: one per header and sender."""
        notify = job.recipient.notify
        if job.plan.copies and "SUCCESS" in notify:
            notify = without_success(notify)  # the copy here is the success
        orcpt = job.recipient.orcpt or orcpt_of(job.recipient.address)
        by = Recipient(job.account.address, notify=notify, orcpt=orcpt, canonical=job.account.address)
        together: dict[tuple[bytes, Envelope], tuple[list[NewRecipient], Body]] = {}
        for each in job.plan.redirects:
            source = mail
            if each.head is not None:
                source = replace(mail, prefix=each.head, body=_rest(mail) if each.rest is None else each.rest)
            copy = await self._forwarder.prepare(source, by, each.address)
            found, _ = together.setdefault((copy.prefix, copy.envelope), ([], source.body))
            found += [replace(target, transport=self._transport(target.address)) for target in copy.recipients]
        return [(Copy(envelope, prefix, targets), body) for (prefix, envelope), (targets, body) in together.items()]

    def _transport(self, address: str) -> str:
        domain = address.rpartition("@")[2]
        is_local = self._filters is not None and self._filters.directory.is_local_domain(domain)
        return "local" if is_local else "smtp"

    def _write_aside(
        self, mail: Mail, trace: bytes, jobs: Sequence[Job], leaving: Sequence[tuple[Job, Sequence[tuple[Copy, Body]]]]
    ) -> None:
        """Stage every copy (one file for all that have the same bytes) and write the spool files. In a thread."""
        first: dict[tuple[bytes | None, int], Staged] = {}
        try:
            for job in jobs:
                try:
                    for copy in job.plan.copies:
                        key = (copy.head, id(copy.rest))
                        before = first.get(key)
                        ref = job.account.ref
                        if before is None:
                            staged = first[key] = self._store.stage(ref, _content(mail, trace, copy.head, copy.rest))
                        else:
                            staged = self._store.link(before, ref)
                        job.staged.append((staged, copy.place))
                except StoreError as error:
                    if not first:
                        raise
                    self._drop(job, error)
            for job, copies in leaving:
                if job.error is None:
                    for leaving_copy, body in copies:
                        job.spools.append((leaving_copy, self._spool.write(leaving_copy.prefix, body)))
        except BaseException as error:
            for job in jobs:
                self._drop(job, error if isinstance(error, Exception) else None)
            raise

    def _drop(self, job: Job, error: Exception | None) -> None:
        """Nothing of this job is to be done."""
        job.error = error
        for staged, _ in job.staged:
            self._store.discard(staged)
        for _, spool in job.spools:
            self._spool.discard(spool.path)
        job.staged, job.spools = [], []

    async def _append_all(self, job: Job) -> None:
        try:
            await self._appender.append_all(job.account.ref, job.staged)
        except Exception as error:  # noqa: BLE001 - one recipient's trouble is not the others'; the caller logs it
            job.error = error
        job.staged = []

    async def _append(self, ref: AccountRef, content: Content, place: Place) -> Exception | None:
        try:
            await self._appender.append(ref, content, place)
        except Exception as error:  # noqa: BLE001 - as above
            return error
        return None

    def _finish(self, mail: Mail, jobs: Sequence[Job]) -> None:
        """Queue rows for redirects, then answers and memories of what is done. In a thread."""
        for job in jobs:
            if job.error is not None:
                self._drop(job, job.error)
                continue
            try:
                while job.spools:
                    copy, spool = job.spools[0]
                    queue_id = self._queue.enqueue(copy.envelope, copy.recipients, spool, self._clock.now())
                    job.spools.pop(0)
                    job.queued.append((queue_id, [each.address for each in copy.recipients]))
            except MailboxError as error:
                self._drop(job, error)
                continue
            for answer in job.plan.answers:
                self._answer(job, answer)
            if self._filters is not None and job.plan.remember:
                self._filters.memory.remember(job.account.account_id, "duplicate", job.plan.remember)

    def _answer(self, job: Job, answer: PlannedAnswer) -> None:
        """Send one answer, if it is still to be sent."""
        assert self._filters is not None
        memory, account_id = self._filters.memory, job.account.account_id
        if answer.claim and not memory.claim(account_id, "vacation", answer.claim, answer.claim_seconds):
            job.notes.append("no answer sent: the sender had this answer already")
            return
        if not memory.may_send(account_id, "answer", self._filters.settings.answers_per_day, len(answer.recipients)):
            job.notes.append("no answer sent: too many were sent today")
            return
        content = ReportSigner(self._filters.directory, self._signer, answer.domain, self._clock).signed(answer.content)
        recipients = [NewRecipient(address, self._transport(address), "NEVER") for address in answer.recipients]
        utf8 = not all(address.isascii() for address in answer.recipients)
        envelope = Envelope("", "7BIT" if content.isascii() else "8BITMIME", utf8, submitter=job.account.address)
        try:
            job.queued.append((self._write_queue(envelope, recipients, b"", content), answer.recipients))
            job.answered.append(answer)
            if answer.fcc is not None:
                self._file_copy(job, content, answer.fcc)
        except MailboxError as error:
            if answer.claim and answer not in job.answered:
                memory.forget(account_id, "vacation", answer.claim)
            job.notes.append(f"an answer could not be sent or filed: {error.public_text}")
            self._log.warning("answer_failed", address=job.account.address, code=error.code)

    def _file_copy(self, job: Job, content: bytes, place: Place) -> None:
        """`:fcc`. RFC 8580."""
        ref = job.account.ref
        staged = self._store.stage(ref, Content(b"", content, len(content)))
        message = NewMessage(staged, place.mailbox, place.flags, place.keywords)
        self._store.account(ref).append([message], atomic=True)

    def _write_queue(
        self,
        envelope: Envelope,
        recipients: Sequence[NewRecipient],
        prefix: bytes,
        body: Body,
        due_at: datetime | None = None,
    ) -> QueueId:
        spool = self._spool.write(prefix, body)
        try:
            return self._queue.enqueue(envelope, recipients, spool, self._clock.now(), due_at=due_at)
        except BaseException:
            self._spool.discard(spool.path)
            raise


def _rest(mail: Mail) -> Body:
    return FilteredMessage.of(mail).rest


def _content(mail: Mail, trace: bytes, head: bytes | None, rest: Body | None) -> Content:
    prefix, body = (mail.prefix, mail.body) if head is None else (head, _rest(mail) if rest is None else rest)
    size_bytes = len(trace) + len(prefix) + (len(body) if isinstance(body, bytes) else body.seek(0, 2))
    return Content(trace + prefix, body, size_bytes)


def _is_about_the_place(error: StoreError, plan: Plan) -> bool:
    """Whether INBOX would do where the planned mailbox or its keywords do not: gone, full of keywords, ..."""
    plain = all(copy.place == INBOX for copy in plan.copies)
    return not error.temporary and error.code != "store.over_quota" and not plain
