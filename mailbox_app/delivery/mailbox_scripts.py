"""Scripts run on what IMAP did: APPEND, COPY and MOVE into a mailbox, changed flags. RFC 6785.

The mailbox's annotation names one of its owner's scripts. It runs behind the command, off the loop, message by message: few of an
account at a turn, so that 100,000 marked messages keep nobody else waiting. What it decides is done in an order that loses nothing:
first what leaves is queued, then copies are filed, then the message itself gets its flags, or \\Deleted when it is not kept.
None of that is an event, so there are no loops. A script that fails changes nothing; its owner is told as for mail that comes in.
Events that wait when a front is killed are lost, as RFC 6785 allows: the messages stay as the client left them.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO

import structlog

from mailbox_app.accounts.model import Account
from mailbox_app.db.offload import Offload
from mailbox_app.delivery.carrying_out import Carrier, Job
from mailbox_app.delivery.filter_actions import ActionPlanner
from mailbox_app.delivery.filter_context import AccountMailboxes, AccountMemory, FilteredMessage
from mailbox_app.delivery.filter_plan import Plan, PlannedCopy
from mailbox_app.delivery.filtering import Filters, NamedScript
from mailbox_app.delivery.mail import Mail, Recipient
from mailbox_app.delivery.mailbox_events import SCRIPT_ENTRY, MailboxEvent
from mailbox_app.errors import MailboxError, StoreError
from mailbox_app.ids import AccountId, AccountRef, MailboxId, Uid
from mailbox_app.mailqueue.model import Envelope
from mailbox_app.proto.sieve.actions import Keep
from mailbox_app.proto.sieve.faults import SieveError
from mailbox_app.proto.sieve.script import Outcome, run
from mailbox_app.store.interface import Content, NewMessage, Store
from mailbox_app.store.model import KEYWORD_SHIFT, FlagMode, MailboxInfo, Message, SystemFlag
from mailbox_app.store.notes import ACCOUNT_NOTES

_WORKERS = 2
"""A store call of each at a time; the other threads are the sessions'."""
_AT_ONCE = 20
_MOST_WAITING = 200_000
"""Messages of one account; whoever causes more waits."""
_WAIT_SECONDS = 30.0
_SYSTEM = {flag: f"\\{flag.name.capitalize()}" for flag in SystemFlag if flag.name}
_BITS = {name.lower(): int(flag) for flag, name in _SYSTEM.items()}
_DELETED = "\\Deleted"
_RETURN_PATH = re.compile(rb"(?:return-path:[^\r\n]*(?:\r\n[ \t][^\r\n]*)*\r\n)+", re.IGNORECASE)


@dataclass(slots=True)
class _Waiting:
    """One account's events, in order."""

    events: deque[MailboxEvent] = field(default_factory=deque)
    begun: int = 0
    """How many messages of the first one are done."""
    message_count: int = 0
    fewer: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class _Decided:
    """What the script wants for one message."""

    account: Account
    info: MailboxInfo
    row: Message
    file: BinaryIO
    message: FilteredMessage
    mail: Mail
    return_path: bytes
    plan: Plan
    flags: tuple[str, ...]
    """Of the message itself when all is done."""


class MailboxScripts:
    """One per front, on its loop."""

    def __init__(self, store: Store, filters: Filters, carrier: Carrier, offload: Offload) -> None:
        self._store = store
        self._filters = filters
        self._carrier = carrier
        self._offload = offload
        self._accounts: dict[AccountId, _Waiting] = {}
        self._ready: asyncio.Queue[AccountId] = asyncio.Queue()
        self._log = structlog.get_logger("delivery")

    def concern(self, ref: AccountRef) -> bool:
        """Whether the account has scripts at all."""
        return self._filters.scripts.may_have_any(ref)

    def names_script(self, ref: AccountRef, mailbox_id: MailboxId) -> bool:
        """Whether a script is named for the mailbox; True when that cannot be told now: the command is done already."""
        if not self.concern(ref):
            return False
        try:
            return bool(self._name(ref, mailbox_id))
        except MailboxError:
            return True

    async def happened(self, event: MailboxEvent) -> None:
        """Take an event up."""
        account_id = event.ref.account_id
        waiting = self._accounts.get(account_id)
        if waiting is not None and waiting.message_count >= _MOST_WAITING:
            waiting.fewer.clear()
            try:
                async with asyncio.timeout(_WAIT_SECONDS):
                    await waiting.fewer.wait()
            except TimeoutError:
                self._log.error("mailbox_event_lost", address=_address(event), cause=event.cause, count=len(event.uids))
                return
            waiting = self._accounts.get(account_id)
        if waiting is None:
            waiting = self._accounts[account_id] = _Waiting()
            self._ready.put_nowait(account_id)
        waiting.events.append(event)
        waiting.message_count += len(event.uids)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_WORKERS):
                group.create_task(self._work())

    async def drain(self, seconds: float) -> None:
        """Let what waits be done, for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._ready.join()
        except TimeoutError:
            self._log.warning("mailbox_events_left", accounts=len(self._accounts))

    async def _work(self) -> None:
        while True:
            account_id = await self._ready.get()
            waiting = self._accounts[account_id]
            try:
                await self._turn(waiting)
                if waiting.events:
                    self._ready.put_nowait(account_id)
                else:
                    del self._accounts[account_id]
                waiting.fewer.set()
            finally:
                self._ready.task_done()

    async def _turn(self, waiting: _Waiting) -> None:
        """A few messages of the account's first event."""
        event = waiting.events[0]
        uids = event.uids[waiting.begun : waiting.begun + _AT_ONCE]
        found: tuple[Account, NamedScript] | None = None
        try:
            found = await self._offload.run(self._script, event)
        except MailboxError as error:
            self._log.warning("mailbox_script_failed", address=_address(event), code=error.code)
        for uid in uids:
            if found is None:
                break
            try:
                await self._one(event, *found, uid)
            except MailboxError as error:
                self._log.warning("mailbox_script_failed", address=_address(event), uid=uid, code=error.code)
            except Exception as error:  # noqa: BLE001 - one account's trouble must not end what runs for all
                self._log.error("mailbox_script_broke", address=_address(event), uid=uid, exc_info=error)
        done = len(uids) if found is not None else len(event.uids) - waiting.begun
        waiting.begun += done
        waiting.message_count -= done
        if waiting.begun >= len(event.uids):
            waiting.events.popleft()
            waiting.begun = 0

    def _script(self, event: MailboxEvent) -> tuple[Account, NamedScript] | None:
        """Whose script runs, and which; None when there is none. Blocking."""
        account = self._filters.directory.account_by_id(event.ref.account_id)
        if account is None:
            return None
        name = self._name(account.ref, event.mailbox_id)
        if not name:
            return None
        try:
            script = self._filters.stored(account, name)
        except SieveError as error:
            self._filters.note_failure(account, f"script {name} is not valid: {error.public_text}")
            return None
        if script is None:
            self._filters.note_failure(account, f"script {name}: a mailbox names it, and there is none")
        return None if script is None else (account, script)

    def _name(self, ref: AccountRef, mailbox_id: MailboxId) -> str:
        """The script that the mailbox names; "" for none."""
        notes = self._store.notes(ref)
        value = notes.annotations(mailbox_id).get(SCRIPT_ENTRY)
        if value is None:  # an empty one says: none, whatever holds for the others
            value = notes.annotations(ACCOUNT_NOTES).get(SCRIPT_ENTRY)
        return (value or b"").decode("utf-8", "replace")

    async def _one(self, event: MailboxEvent, account: Account, script: NamedScript, uid: Uid) -> None:
        decided = await self._offload.run(self._decide, event, account, script, uid)
        if decided is None:
            return
        try:
            plan = decided.plan
            if plan.redirects or plan.answers:
                job = Job(account, Recipient(account.address), replace(plan, copies=(), remember=()))
                await self._carrier.carry_out(decided.mail, [job])
                if job.error is not None:
                    raise job.error
            await self._offload.run(self._settle, decided)
        finally:
            decided.file.close()

    def _decide(self, event: MailboxEvent, account: Account, script: NamedScript, uid: Uid) -> _Decided | None:
        """Run the script; None when the message is gone, or the script failed. Blocking."""
        stored = self._store.account(account.ref)
        info = next((each for each in stored.mailboxes() if each.mailbox_id == event.mailbox_id), None)
        rows = stored.messages(event.mailbox_id, [uid])
        if info is None or not rows:
            return None
        try:
            file = stored.open_message(event.mailbox_id, uid)
        except StoreError as error:
            if error.code == "store.no_such_message":
                return None
            raise
        try:
            decided = self._decided(event, account, script, info, rows[0], file)
        except BaseException:
            file.close()
            raise
        if decided is None:
            file.close()
        return decided

    def _decided(
        self,
        event: MailboxEvent,
        account: Account,
        script: NamedScript,
        info: MailboxInfo,
        row: Message,
        file: BinaryIO,
    ) -> _Decided | None:
        whole = FilteredMessage.of(Mail(Envelope(""), (), b"", file, 0))
        found = _RETURN_PATH.match(whole.head)
        return_path = found.group() if found else b""
        message = whole.with_head(whole.head[len(return_path) :])
        # What leaves by this script leaves in its owner's name: there is no other sender. RFC 6785 3
        mail = Mail(
            Envelope(account.address, submitter=account.address), (), message.head, message.rest, row.size_bytes
        )
        mailboxes = AccountMailboxes(self._store, account.ref)
        recipient = Recipient(account.address)
        flags = _names(row.flags, info.keywords)
        context = replace(
            self._filters.context(mail, message, account, recipient, mailboxes),
            sender=None,
            memory=AccountMemory(self._filters.memory, account.ref, "imap"),
            environment=self._environment(event, account, info),
            home=info.name,
            flags=flags,
        )
        outcome = run(script.script, context, self._filters.limits)
        if outcome.error:
            self._filters.note_failure(account, f"script {script.name} for {info.name}: {outcome.error}")
            return None
        planner = ActionPlanner(
            self._filters, mail, message, account, recipient, mailboxes, home=info.name, tells=True, dry=False
        )
        for action in outcome.actions:
            planner.take(action, message, script.name)
        planner.remember += [(each.identity, each.seconds) for each in outcome.remember]
        plan = planner.plan()
        return _Decided(
            account, info, row, file, message, mail, return_path, plan, _flags_after(outcome, plan, info.name)
        )

    def _environment(self, event: MailboxEvent, account: Account, info: MailboxInfo) -> Mapping[str, str]:
        """RFC 5183 4.1, RFC 6785 4."""
        return {
            **self._filters.server_items(),
            "location": "MS",
            "phase": "post",
            "imap.user": event.user,
            "imap.email": account.address,
            "imap.cause": event.cause,
            "imap.mailbox": info.name,
            "imap.changedflags": " ".join(_names(event.changed_flags, info.keywords)),
        }

    def _settle(self, decided: _Decided) -> None:
        """File the copies, then change the message's own flags. Blocking."""
        plan, home, uid = decided.plan, decided.info.mailbox_id, decided.row.uid
        stored = self._store.account(decided.account.ref)
        before = _names(decided.row.flags, decided.info.keywords)
        for copy in plan.copies:
            if copy.place.mailbox == decided.info.name:
                continue
            target = stored.mailbox(copy.place.mailbox).mailbox_id
            wanted = [name for name in _place_names(copy) if name != _DELETED or _DELETED not in before]
            if copy.head is None:
                for new in stored.copy(home, [uid], target).target_uids:
                    self._mark(decided.account.ref, target, new, before, wanted)
                continue
            self._store_edited(decided, copy, target, wanted)
        self._mark(decided.account.ref, home, uid, before, decided.flags)
        if plan.remember:
            self._filters.memory.remember(decided.account.account_id, "imap", plan.remember)
        for note in plan.notes:
            self._log.info("mailbox_script_note", address=decided.account.address, mailbox=decided.info.name, text=note)

    def _store_edited(self, decided: _Decided, copy: PlannedCopy, target: MailboxId, flags: Sequence[str]) -> None:
        ref = decided.account.ref
        body = decided.message.rest if copy.rest is None else copy.rest
        message = FilteredMessage(decided.return_path + (copy.head or b""), body)
        staged = self._store.stage(ref, Content(message.head, message.rest, message.size_bytes))
        bits, keywords = _split(flags)
        self._store.account(ref).append(
            [NewMessage(staged, target, bits, keywords, decided.row.internal_seconds)], atomic=True
        )

    def _mark(
        self, ref: AccountRef, mailbox_id: MailboxId, uid: Uid, before: Sequence[str], after: Sequence[str]
    ) -> None:
        """Only what the script changed: what a client marks meanwhile stays."""
        stored = self._store.account(ref)
        old, new = {each.lower() for each in before}, {each.lower() for each in after}
        for mode, names in (
            (FlagMode.ADD, [each for each in after if each.lower() not in old]),
            (FlagMode.REMOVE, [each for each in before if each.lower() not in new]),
        ):
            bits, keywords = _split(names)
            if bits or keywords:
                stored.store_flags(mailbox_id, [uid], mode, bits, keywords)


def _address(event: MailboxEvent) -> str:
    return f"{event.ref.localpart}@{event.ref.domain}"


def _names(flags: int, keywords: Sequence[str]) -> tuple[str, ...]:
    """A flags integer as names."""
    system = [name for flag, name in _SYSTEM.items() if flags & flag]
    return (*system, *(word for number, word in enumerate(keywords) if flags >> KEYWORD_SHIFT + number & 1))


def _split(names: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    bits = 0
    for name in names:
        bits |= _BITS.get(name.lower(), 0)
    return bits, tuple(name for name in names if not name.startswith("\\"))


def _place_names(copy: PlannedCopy) -> tuple[str, ...]:
    return (*_names(copy.place.flags, ()), *copy.place.keywords)


def _flags_after(outcome: Outcome, plan: Plan, home: str) -> tuple[str, ...]:
    """What the message has in its mailbox when the script is done: \\Deleted when it is not kept there. RFC 6785 3."""
    kept = next((action for action in outcome.actions if isinstance(action, Keep)), None)
    if kept is not None:
        return kept.flags
    if any(copy.place.mailbox == home for copy in plan.copies):
        return tuple(outcome.flags)
    return tuple(dict.fromkeys((*outcome.flags, _DELETED)))
