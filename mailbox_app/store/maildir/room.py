"""Whether an account has room for more mail: bytes and messages, counted in the transaction of the change."""

from __future__ import annotations

from dataclasses import dataclass

from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountRef
from mailbox_app.store.maildir.queries import AccountRow


@dataclass(frozen=True, slots=True)
class Room:
    """The limits of one account; 0: none."""

    quota_bytes: int
    quota_messages: int = 0

    @classmethod
    def of(cls, ref: AccountRef) -> Room:
        """What the account may use."""
        return cls(ref.quota_bytes, ref.quota_messages)

    def check(self, account: AccountRow, size_bytes: int, count: int = 1) -> None:
        """Raise `store.over_quota` when so much more does not fit."""
        if self.quota_bytes and account.used_bytes + size_bytes > self.quota_bytes:
            raise StoreError("store.over_quota", "the mailbox is full", temporary=True)
        if self.quota_messages and account.used_messages + count > self.quota_messages:
            raise StoreError("store.over_quota", "the mailbox holds too many messages", temporary=True)
