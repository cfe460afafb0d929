"""Accounts that let in whoever knows one password, and a clock that does not keep tests waiting."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

from mailbox_app.accounts.model import Account, AccountState
from mailbox_app.clock import SystemClock
from mailbox_app.ids import AccountId

PASSWORD = "secret"


class KnownPasswords:
    """Lets alice and bob in with one password, and a full-up account."""

    def __init__(self, quota_bytes: int = 0) -> None:
        created = datetime(2026, 1, 5, tzinfo=UTC)
        self._accounts = {
            name: Account(AccountId(number), f"{name}@example.org", AccountState.ACTIVE, quota, created)
            for number, (name, quota) in enumerate((("alice", quota_bytes), ("bob", 0), ("full", 10)), 1)
        }

    async def login(self, address: str, password: str, *, protocol: str, remote_ip: str) -> Account | None:
        account = self._accounts.get(address.partition("@")[0])
        return account if password == PASSWORD else None

    def account_by_id(self, account_id: AccountId) -> Account | None:
        return next((account for account in self._accounts.values() if account.account_id == account_id), None)

    def account_by_address(self, address: str) -> Account | None:
        return next((account for account in self._accounts.values() if account.address == address), None)

    def new_password(self, name: str) -> None:
        account = self._accounts[name]
        self._accounts[name] = replace(account, credential_version=account.credential_version + 1)

    def disable(self, name: str) -> None:
        self._accounts[name] = replace(self._accounts[name], state=AccountState.DISABLED)


class QuickClock(SystemClock):
    """Real time, but waiting for less than three seconds takes no time."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0 if seconds < 3 else seconds)
