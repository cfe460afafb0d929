"""What a RCPT address comes to: local accounts, outside addresses, lists, or a refusal with its reply.

A rewritten sender of ours (`mailqueue.srs`) takes reports only and leads back to the stranger behind it. A list whose posters
can be told at RCPT refuses there; one that must see a stranger's message first gets it in a transaction of its own, because the
answer at the end of the content is one for all recipients.

The quota check is a courtesy that saves a transfer: it reads a usage that may be seconds old. The store counts in the
append's transaction and has the last word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from mailbox_app.accounts.addresses import canonical
from mailbox_app.accounts.interface import Directory
from mailbox_app.accounts.model import Account, AccountState, Alias, Post, Resolved
from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.delivery.forwarding import Forwarder
from mailbox_app.delivery.mail import Recipient
from mailbox_app.delivery.posting import account_may_post, refusal_text
from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountId, AccountRef
from mailbox_app.mailqueue.srs import SrsError, is_rewritten
from mailbox_app.policy.state.suppressions import Suppression
from mailbox_app.proto.smtp.commands import RcptCommand
from mailbox_app.proto.smtp.replies import Refusal
from mailbox_app.store.interface import Store

_USAGE_SECONDS = 5.0
_USAGES_KEPT = 10_000


class Recipients:
    """Decides about RCPT."""

    def __init__(
        self,
        directory: Directory,
        store: Store,
        offload: Offload,
        clock: Clock,
        forwarder: Forwarder | None = None,
        suppressed: Callable[[str], Suppression | None] = lambda _: None,
    ) -> None:
        self._directory = directory
        self._store = store
        self._offload = offload
        self._clock = clock
        self._forwarder = forwarder
        self._suppressed = suppressed
        self._usages: dict[AccountId, tuple[float, int]] = {}

    async def accept(
        self,
        command: RcptCommand,
        *,
        may_relay: bool,
        size_bytes: int = 0,
        sender: str = "",
        account: Account | None = None,
        before: Sequence[Recipient] = (),
    ) -> Recipient:
        """The recipient, or a `Refusal`. `may_relay` is for logged-in users only; `size_bytes` is what MAIL declared;
        `account` is who logged in, `before` what this message's RCPTs have brought so far."""
        address = command.address
        resolved = self._directory.resolve(address)
        restored = self._restored(address, resolved)
        if restored is not None:
            if sender:
                text = "This address takes reports only, from the null sender"
                raise Refusal(550, "5.7.1", text, reason="not_a_report", address=address)
            return Recipient(address, (), (restored,), command.notify, command.orcpt, address.lower())
        if not resolved.is_local_domain:
            if not may_relay:
                raise Refusal(550, "5.7.1", "Relaying denied", reason="relay_denied", address=address)
            self._check_suppressed(address)
            return Recipient(address, (), (address,), command.notify, command.orcpt, resolved.canonical)
        recipient = _recipient(resolved, address, command.notify, command.orcpt)
        if recipient is None:
            raise _unknown(resolved, address)
        _check_alone(recipient, account, before)
        for alias in recipient.lists:
            self._check_post(alias, address, sender, account, size_bytes)
        if recipient.accounts and not (recipient.outside or recipient.lists):
            await self._check_room(address, recipient.accounts, size_bytes)
        return recipient

    def local(self, address: str, *, notify: str = "", orcpt: str = "") -> Recipient | None:
        """Where mail for a local address goes, without asking for room; None when there is no such address.

        What the queue brings has no poster behind it any more, so lists are no place for it.
        """
        resolved = self._directory.resolve(address)
        try:
            restored = self._restored(address, resolved)
        except Refusal:
            return None
        if restored is not None:
            return Recipient(address, (), (restored,), notify, orcpt, address.lower())
        if not resolved.is_local_domain:
            return None
        return _recipient(replace(resolved, lists=()), address, notify, orcpt)

    def _check_suppressed(self, address: str) -> None:
        if (found := self._suppressed(address)) is not None:
            day = datetime.fromtimestamp(found.last_at_seconds, UTC).strftime("%Y-%m-%d")
            text = f"Mail to this address failed for good, last on {day}: {found.text}"[:400]
            raise Refusal(550, "5.1.1", text, reason="suppressed", address=address)

    def _restored(self, address: str, resolved: Resolved) -> str | None:
        """The stranger behind a rewritten sender of ours, which comes before any catch-all. What is not ours may be one's."""
        localpart = address.rpartition("@")[0]
        if self._forwarder is None or not is_rewritten(localpart):
            return None
        try:
            return self._forwarder.restored(localpart, canonical(address)[1])
        except SrsError as error:
            if resolved.is_known:
                return None
            raise Refusal(550, "5.1.1", error.public_text, reason="bad_rewritten_sender", address=address) from error

    def _check_post(self, alias: Alias, address: str, sender: str, account: Account | None, size_bytes: int) -> None:
        """What can be told of a list's poster at RCPT; the rest is told at the end of the content."""
        if alias.max_bytes and size_bytes > alias.max_bytes:
            text = "The message is larger than this list takes"
            raise Refusal(552, "5.2.3", text, reason="too_large", address=address)
        if account is None and not sender:
            text = "A list takes no reports: they go to its owner"
            raise Refusal(550, "5.7.1", text, reason="not_a_poster", address=address)
        if account is not None and not account_may_post(self._directory, alias, account):
            raise Refusal(550, "5.7.1", refusal_text(alias), reason="not_a_poster", address=address)

    async def _check_room(self, address: str, accounts: Sequence[Account], size_bytes: int) -> None:
        """Refuses when no account of the address has room; one that has is enough, the others wait in the queue."""
        if any(account.quota_bytes == 0 for account in accounts):
            return
        if all(size_bytes > account.quota_bytes for account in accounts):
            text = "The message is larger than the mailbox may be"
            raise Refusal(552, "5.2.3", text, reason="over_quota", address=address)
        for account in accounts:
            used = await self._usage(account)
            if used is None or (used + size_bytes <= account.quota_bytes and used < account.quota_bytes):
                return
        raise Refusal(452, "4.2.2", "The mailbox is full, try again later", reason="over_quota", address=address)

    async def _usage(self, account: Account) -> int | None:
        now = self._clock.monotonic_seconds()
        known = self._usages.get(account.account_id)
        if known and known[0] > now:
            return known[1]
        try:
            used = await self._offload.run(self._read_usage, account.ref)
        except StoreError:
            return None  # a store in trouble answers at the append
        if len(self._usages) >= _USAGES_KEPT:
            self._usages.clear()
        self._usages[account.account_id] = (now + _USAGE_SECONDS, used)
        return used

    def _read_usage(self, ref: AccountRef) -> int:
        return self._store.account(ref).usage()[0]


def _recipient(resolved: Resolved, address: str, notify: str, orcpt: str) -> Recipient | None:
    """None when nobody is there."""
    accounts = tuple(account for account in resolved.accounts if account.state is not AccountState.REMOVED)
    if not (accounts or resolved.outside or resolved.lists):
        return None
    outside = tuple(resolved.outside)
    return Recipient(
        address, accounts, outside, notify, orcpt, resolved.canonical, resolved.detail, resolved.lists, bool(outside)
    )


def _unknown(resolved: Resolved, address: str) -> Refusal:
    if resolved.is_disabled:
        return Refusal(550, "5.2.1", "This address is not in use now", reason="disabled", address=address)
    return Refusal(550, "5.1.1", "No such mailbox here", reason="no_such_user", address=address)


def _check_alone(recipient: Recipient, account: Account | None, before: Sequence[Recipient]) -> None:
    """Refuses for now when a list that must see the message first would share its answer with others. RFC 5321 4.5.3.1.10"""
    if account is None and before and (_is_judged_later(recipient) or _is_judged_later(before[0])):
        text = "This list takes its mail alone: send the others separately"
        raise Refusal(452, "4.5.3", text, reason="too_many_recipients", address=recipient.address)


def _is_judged_later(recipient: Recipient) -> bool:
    return any(alias.post is not Post.ANYONE or alias.max_bytes for alias in recipient.lists)
