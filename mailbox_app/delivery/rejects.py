"""The Rejects mailbox: what was refused by its score alone is kept for its recipients for some days.

The sender heard 550, so nothing here owes anybody anything: what cannot be kept (no room, storage in trouble) is logged and
forgotten, and nothing here changes an answer. Bounded per account in messages, bytes and days; the oldest go first. Moving a
message out of the mailbox recovers it and says that it was wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from mailbox_app.accounts.model import Account
from mailbox_app.clock import Clock
from mailbox_app.config.schema import Config
from mailbox_app.db.offload import Offload
from mailbox_app.delivery.mail import Mail
from mailbox_app.errors import MailboxError
from mailbox_app.ids import AccountRef, MailboxId, Uid
from mailbox_app.policy.verdict import Judgement, Verdict
from mailbox_app.store.interface import Account as AccountStore
from mailbox_app.store.interface import Content, NewMessage, Store
from mailbox_app.store.model import FlagMode, SystemFlag

_DAY_SECONDS = 86_400
_MAX_ACCOUNTS = 20
"""Of one message: more recipients of one refused message keep no copy."""
_STEP = 500


class Rejects:
    """One per process."""

    def __init__(self, store: Store, offload: Offload, clock: Clock, config: Callable[[], Config]) -> None:
        self._store = store
        self._offload = offload
        self._clock = clock
        self._config = config
        self._log = structlog.get_logger("delivery")

    def wants(self, judgement: Judgement) -> bool:
        """Whether a refused message is to be kept: the sum of scores refused it, no rule did."""
        return bool(self._config().junk.rejects_mailbox) and judgement.deciding(Verdict.REJECT) is None

    async def keep(self, mail: Mail) -> Sequence[str]:
        """Keep a copy for each local recipient; the addresses of those who have one. Raises nothing but a cancellation.

        The first trouble that will pass ends it: whoever waits for its 550 does not wait for twenty locked mailboxes.
        """
        accounts = {account.account_id: account for each in mail.recipients for account in each.accounts}
        kept = []
        for account in list(accounts.values())[:_MAX_ACCOUNTS]:
            try:
                if await self._offload.run(self._append, account, mail):
                    kept.append(account.address)
            except (MailboxError, OSError) as error:
                self._log.info("reject_not_kept", account=account.address, reason=str(error))
                if not isinstance(error, MailboxError) or (error.temporary and error.code != "store.over_quota"):
                    break
            except Exception:  # noqa: BLE001 - the message is refused already: an error here would call it back for ever
                self._log.exception("reject_not_kept", account=account.address)
                break
        return kept

    def _append(self, account: Account, mail: Mail) -> bool:
        prefix = f"Return-Path: <{mail.envelope.sender}>\r\n".encode() + mail.prefix
        body_bytes = len(mail.body) if isinstance(mail.body, bytes) else mail.body.seek(0, 2)
        size_bytes = len(prefix) + body_bytes
        if size_bytes > self._most_bytes(account.ref) // 4:
            return False
        store = self._store.account(account.ref)
        mailbox_id = self._mailbox(store, make=True)
        assert mailbox_id is not None
        staged = self._store.stage(account.ref, Content(prefix, mail.body, size_bytes))
        appended = store.append([NewMessage(staged, mailbox_id)])[0]
        if isinstance(appended, Exception):
            raise appended
        self._trim(account.ref, store, mailbox_id)
        return True

    def expire(self, ref: AccountRef) -> None:
        """Remove what is too old; in a thread, by the regular upkeep."""
        if not self._config().junk.rejects_mailbox:
            return
        store = self._store.account(ref)
        mailbox_id = self._mailbox(store, make=False)
        if mailbox_id is None:
            return
        before = self._clock.epoch_seconds() - self._config().junk.rejects_days * _DAY_SECONDS
        uids = [Uid(uid) for uid in store.sizes(mailbox_id).uids]
        for at in range(0, len(uids), _STEP):
            messages = store.messages(mailbox_id, uids[at : at + _STEP])
            old = [message.uid for message in messages if message.internal_seconds < before]
            self._remove(store, mailbox_id, old)
            if len(old) < len(messages):  # they came in the order of their UIDs
                break

    def _trim(self, ref: AccountRef, store: AccountStore, mailbox_id: MailboxId) -> None:
        rule = self._config().junk
        sizes = store.sizes(mailbox_id)
        count, total = len(sizes.uids), sum(sizes.size_bytes)
        gone = 0
        while count - gone > rule.rejects_max_messages or (count - gone > 1 and total > self._most_bytes(ref)):
            total -= sizes.size_bytes[gone]
            gone += 1
        self._remove(store, mailbox_id, [Uid(uid) for uid in sizes.uids[:gone]])

    def _remove(self, store: AccountStore, mailbox_id: MailboxId, uids: Sequence[Uid]) -> None:
        if uids:
            store.store_flags(mailbox_id, uids, FlagMode.ADD, SystemFlag.DELETED)
            store.expunge(mailbox_id, uids)

    def _mailbox(self, store: AccountStore, *, make: bool) -> MailboxId | None:
        name = self._config().junk.rejects_mailbox
        try:
            return store.mailbox(name).mailbox_id
        except MailboxError as error:
            if error.code != "store.no_such_mailbox":
                raise
        if not make:
            return None
        made = store.create(name).mailbox_id
        store.subscribe(name, True)
        return made

    def _most_bytes(self, ref: AccountRef) -> int:
        most = self._config().junk.rejects_max_bytes
        return min(most, ref.quota_bytes // 10) if ref.quota_bytes else most
