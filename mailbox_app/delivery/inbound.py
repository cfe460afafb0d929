"""Into mailboxes and, for what must wait or leave, into the queue. A return means durable for every recipient.

The filters decide first, before anything is done: when every recipient's own rule refuses, the message is refused at the door.
Outside addresses are queued next: what fails there can still be answered with a 4xx before anybody has a copy. Local
recipients share one staged file (hard links) and, per account, one commit with everything else that arrives. A recipient whose
mailbox cannot take the message now waits in the queue for the local transport while others have their copy; if nobody could be
served, the error is raised. In the worst case (others stored, then the queue fails too) the answer is 4xx as well: a duplicate
is possible, a loss is not. A recipient who refuses while others accept gets the message as junk with the reason: no backscatter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import structlog

from mailbox_app.accounts.model import Account
from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.delivery.carrying_out import Carrier, Job
from mailbox_app.delivery.filter_plan import TO_INBOX, Plan
from mailbox_app.delivery.filtering import Filters
from mailbox_app.delivery.forwarding import Forwarder
from mailbox_app.delivery.header_block import read_header
from mailbox_app.delivery.mail import Body, Delivered, Filing, Mail, Recipient
from mailbox_app.delivery.receipts import Receipts, after_expansion
from mailbox_app.errors import MailboxError, StoreError
from mailbox_app.ids import AccountId, QueueId
from mailbox_app.mailqueue.interface import QueueBackend
from mailbox_app.mailqueue.model import NewRecipient
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.observe.metrics import Metrics
from mailbox_app.policy.verdict import Finding, Judgement
from mailbox_app.policy.verdict_field import read_verdict
from mailbox_app.proto.header import Header
from mailbox_app.proto.smtp.orcpt import orcpt_of
from mailbox_app.proto.smtp.replies import Refusal, Reply, reply_for
from mailbox_app.store.interface import Store

_UNEXPECTED = StoreError("store.failed", "the mailbox cannot take mail now", temporary=True)
_REPLY_LINES = 10
_REPLY_CHARACTERS = 400
"""Of one line; RFC 5321 4.5.3.1.5 allows 512 bytes with code and line end."""
_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class RuleRefusal(Refusal):
    """Every recipient's own script refuses; what the decision record tells goes with it."""

    def __init__(self, reply: Reply, judgement: Judgement, filings: Sequence[Filing]) -> None:
        super().__init__(reply.code, reply.enhanced, reply.text, reason="sieve_reject")
        self.judgement = judgement
        self.filings = filings


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
        filters: Filters | None = None,
        receipts: Receipts | None = None,
    ) -> None:
        self._receipts = receipts
        self._forwarder = forwarder
        self._filters = filters
        self._offload = offload
        self._metrics = metrics
        self.carrier = Carrier(store, queue, spool, offload, clock, forwarder, filters)
        self._log = structlog.get_logger("delivery")

    async def deliver(self, mail: Mail, *, may_refuse: bool = True, each_answers: bool = False) -> Delivered:
        """Serve every recipient, each account once; a `MailboxError` when nobody could be served.

        Not `may_refuse`: the message was accepted before, so what a rule refuses is stored as junk. `each_answers`: every
        recipient has an answer of its own (LMTP): who refuses or cannot be served now is told so in `Delivered.replies`.
        """
        if mail.due_at is not None:
            return await self._postpone(mail, mail.due_at)
        given = mail
        recipients = after_expansion(mail.recipients)
        mail = mail if recipients is mail.recipients else replace(mail, recipients=recipients)
        parts = await self._forwarder.plan(mail)
        jobs = await self._jobs(parts.mail)
        refusals = {id(job): _refusal(job, mail) for job in jobs if job.plan.rejection is not None}
        if refusals and may_refuse and len(refusals) == len(jobs) and not parts.copies and not each_answers:
            self._metrics.filter_actions.labels("rejected").inc(len(jobs))
            raise RuleRefusal(
                refusals[id(jobs[0])], mail.judgement, [_rejected(job, refusals[id(job)]) for job in jobs]
            )
        answers = _Answers(mail, each_answers=each_answers)
        answers.replies.update(parts.replies if each_answers else {})
        filings = [*parts.filings]
        rules = {job.account.account_id: refusals[id(job)] for job in jobs if id(job) in refusals}
        refused = answers.take(rules) if may_refuse else set()
        serving = []
        for job in jobs:
            if job.account.account_id in refused:
                filings.append(_rejected(job, refusals[id(job)]))
                self._metrics.filter_actions.labels("rejected").inc()
                continue
            if job.plan.rejection_copy is not None:
                job.plan = replace(job.plan, copies=[job.plan.rejection_copy], redirects=())
            serving.append(job)
        queued = [
            await self.carrier.enqueue(copy.envelope, copy.recipients, copy.prefix, mail.body) for copy in parts.copies
        ]
        await self.carrier.carry_out(parts.mail, [job for job in serving if job.error is None])
        stored, waiting = self._sorted(serving, filings, queued)
        troubles = {job.account.account_id: self._answer(job.error) for job in waiting if job.error is not None}
        told = answers.take(troubles)
        if waiting and not (stored or queued or each_answers):
            raise _gravest([job.error for job in waiting])
        targets = []
        for job in waiting:
            if job.account.account_id not in told:
                reply, recipient = str(troubles[job.account.account_id]), job.recipient
                filings.append(Filing(job.account.address, "queued", "", reply))
                targets.append(_waiting(job.account, recipient, reply))
        if targets:
            queued.append(await self.carrier.enqueue(mail.envelope, targets, mail.prefix, mail.body))
        if given.wants_receipts and self._receipts is not None:
            kept = [
                job.account.address
                for job in serving
                if job.error is None and (job.plan.copies or not job.plan.redirects)
            ]
            await self._receipts.send(given, kept, {*answers.replies, *parts.replies})
        return Delivered(stored, queued, filings=filings, replies=answers.replies)

    async def _postpone(self, mail: Mail, due_at: datetime) -> Delivered:
        """All of it waits in the queue for the time its sender chose, also for recipients here. RFC 4865"""
        given, parts = mail, await self._forwarder.plan(mail)
        mail = parts.mail
        reason = f"waits until {due_at:%Y-%m-%d %H:%M:%S} UTC, as its sender asked"
        accounts = {
            account.account_id: (account, recipient) for recipient in mail.recipients for account in recipient.accounts
        }
        targets = [_waiting(account, recipient, reason) for account, recipient in accounts.values()]
        queued = []
        for copy in parts.copies:
            later = [replace(each, reason=each.reason or reason) for each in copy.recipients]
            queued.append(await self.carrier.enqueue(copy.envelope, later, copy.prefix, mail.body, due_at=due_at))
        if targets:
            queued.append(await self.carrier.enqueue(mail.envelope, targets, mail.prefix, mail.body, due_at=due_at))
        if given.wants_receipts and self._receipts is not None:
            lists = [
                recipient for recipient in given.recipients if recipient.lists
            ]  # all others report when it is time
            await self._receipts.send(replace(given, recipients=lists), (), parts.replies)
        local = [Filing(target.address, "queued", "", reason) for target in targets]
        return Delivered((), queued, filings=[*parts.filings, *local])

    async def parse_header(self, block: bytes) -> Header:
        """The same as `Header.parse`, in a thread."""
        return await self._offload.run(Header.parse, block)

    async def judged_before(self, body: Body) -> Judgement:
        """What our own verdict field of a message says that waited in the queue."""
        header = Header.parse(await self._offload.run(read_header, body))
        found = read_verdict(header)
        if found is None:
            return Judgement()
        verdict, score = found
        return Judgement([Finding("earlier", "judged when it came in", score=score, verdict=verdict)])

    async def _jobs(self, mail: Mail) -> list[Job]:
        """One per account, with its plan."""
        accounts: dict[AccountId, tuple[Account, Recipient]] = {}
        for recipient in mail.recipients:
            for account in recipient.accounts:
                accounts.setdefault(account.account_id, (account, recipient))
        pairs = list(accounts.values())
        filters = self._filters
        concerned = [pair for pair in pairs if filters.concern(mail, *pair)] if filters is not None else []
        if filters is None or not concerned:
            return [Job(account, recipient, TO_INBOX) for account, recipient in pairs]
        # by account: scripts that take their whole budget must not have all the threads
        key = ("filters", concerned[0][0].account_id)
        found_plans = await self._offload.run_for(key, filters.plans, mail, concerned)
        plans: dict[AccountId, Plan | MailboxError] = {}
        for (account, _), plan in zip(concerned, found_plans, strict=True):
            plans[account.account_id] = plan
        jobs = []
        for account, recipient in pairs:
            found = plans.get(account.account_id, TO_INBOX)
            if isinstance(found, Plan):
                jobs.append(Job(account, recipient, found))
            else:
                jobs.append(Job(account, recipient, TO_INBOX, found))
        return jobs

    def _sorted(
        self, jobs: Sequence[Job], filings: list[Filing], queued: list[tuple[QueueId, Sequence[str]]]
    ) -> tuple[list[str], list[Job]]:
        """Addresses of accounts that are served, and the jobs that are not."""
        stored: list[str] = []
        waiting: list[Job] = []
        for job in jobs:
            if job.error is None:
                stored.append(job.account.address)
                done = job.filings()
                filings += done
                for filing in done if job.plan is not TO_INBOX else ():
                    self._metrics.filter_actions.labels(filing.action).inc()
                queued += job.queued
            else:
                waiting.append(job)
        return stored, waiting

    def _answer(self, error: Exception) -> Reply:
        """The reply that stands for an error; an unexpected one is logged and counted."""
        if isinstance(error, MailboxError):
            if error.code == "store.over_quota":
                self._metrics.quota_exceeded.inc()
            return reply_for(error)
        self._metrics.errors.inc()
        self._log.error("append_failed", exc_info=error)
        return reply_for(_UNEXPECTED)


class _Answers:
    """Who is told to its face that it is not served, where each recipient has an answer of its own.

    A recipient that stands for several accounts is told so when none of them is served; otherwise it counts as served, and the
    accounts that are not are looked after here.
    """

    def __init__(self, mail: Mail, *, each_answers: bool) -> None:
        self._mail = mail
        self._each_answers = each_answers
        self._unserved: dict[AccountId, Reply] = {}
        self.replies: dict[str, Reply] = {}

    def take(self, unserved: Mapping[AccountId, Reply]) -> set[AccountId]:
        """These accounts are not served: tell it; those of them that nobody has to look after any more."""
        if not self._each_answers:
            return set()
        self._unserved.update(unserved)
        others: set[AccountId] = set()
        for recipient in self._mail.recipients:
            ids = [account.account_id for account in recipient.accounts]
            if ids and not (recipient.outside or recipient.lists) and all(each in self._unserved for each in ids):
                self.replies.setdefault(recipient.address, self._unserved[ids[-1]])
            else:
                others.update(ids)
        return set(unserved) - others


def _refusal(job: Job, mail: Mail) -> Reply:
    """The script's words as a reply. RFC 5429 2.1: at the door, where the sender's own server tells the sender."""
    text = _UNSAFE.sub(" ", job.plan.rejection or "").replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    if not mail.envelope.smtputf8:
        text = text.encode("ascii", "replace").decode()
    lines = [line[:_REPLY_CHARACTERS].strip() for line in text.strip().split("\n")[:_REPLY_LINES]]
    words = "\n".join(line or "-" for line in lines)
    return Reply(550, "5.7.1", words if words != "-" else "The recipient does not want this message")


def _waiting(account: Account, recipient: Recipient, reason: str) -> NewRecipient:
    """An account's row in the queue, which remembers the address that the sender knows."""
    is_renamed = account.address.lower() != recipient.address.lower()
    orcpt = recipient.orcpt or (orcpt_of(recipient.address) if is_renamed else "")
    return NewRecipient(account.address, "local", recipient.notify, orcpt, reason)


def _rejected(job: Job, reply: Reply) -> Filing:
    return Filing(job.account.address, "rejected", str(reply), "the account's script refused it", job.plan.steps)


def _gravest(errors: Sequence[Exception | None]) -> MailboxError:
    """The error to answer with: any other trouble before a full mailbox."""
    found = [error if isinstance(error, MailboxError) else _UNEXPECTED for error in errors if error is not None]
    return min(found, key=lambda error: error.code == "store.over_quota")
