"""What a RCPT address comes to: local accounts, outside addresses, or a refusal with its reply.

The quota check is a courtesy that saves a transfer: it reads a usage that may be seconds old. The store counts in the
append's transaction and has the last word.
"""

from __future__ import annotations

from mailbox_app.accounts.interface import Directory
from mailbox_app.accounts.model import Account, AccountState
from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.delivery.mail import Recipient
from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountId, AccountRef
from mailbox_app.proto.smtp.commands import RcptCommand
from mailbox_app.proto.smtp.replies import Refusal
from mailbox_app.store.interface import Store

_USAGE_SECONDS = 5.0
_USAGES_KEPT = 10_000


class Recipients:
    """Decides about RCPT."""

    def __init__(self, directory: Directory, store: Store, offload: Offload, clock: Clock) -> None:
        self._directory = directory
        self._store = store
        self._offload = offload
        self._clock = clock
        self._usages: dict[AccountId, tuple[float, int]] = {}

    async def accept(self, command: RcptCommand, *, may_relay: bool, size_bytes: int = 0) -> Recipient:
        """The recipient, or a `Refusal`. `may_relay` is for logged-in users only; `size_bytes` is what MAIL declared."""
        resolved = self._directory.resolve(command.address)
        if not resolved.is_local_domain:
            if not may_relay:
                raise Refusal(550, "5.7.1", "Relaying denied", reason="relay_denied", address=command.address)
            return Recipient(command.address, (), (command.address,), command.notify, command.orcpt)
        accounts = tuple(account for account in resolved.accounts if account.state is not AccountState.REMOVED)
        if not accounts and not resolved.outside:
            raise Refusal(550, "5.1.1", "No such mailbox here", reason="no_such_user", address=command.address)
        if not resolved.outside:
            await self._check_room(command.address, accounts, size_bytes)
        return Recipient(command.address, accounts, tuple(resolved.outside), command.notify, command.orcpt)

    def local(self, address: str, *, notify: str = "", orcpt: str = "") -> Recipient | None:
        """Where mail for a local address goes, without asking for room; None when there is no such address."""
        resolved = self._directory.resolve(address)
        accounts = tuple(account for account in resolved.accounts if account.state is not AccountState.REMOVED)
        if not resolved.is_local_domain or not (accounts or resolved.outside):
            return None
        return Recipient(address, accounts, tuple(resolved.outside), notify, orcpt)

    async def _check_room(self, address: str, accounts: tuple[Account, ...], size_bytes: int) -> None:
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
