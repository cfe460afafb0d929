"""Checks logins for every protocol, at the same cost whoever asks.

An unknown, disabled or removed name is hashed against a dummy exactly as a known one, so the time tells nothing (D16). At most
two hashes run at once and at most 64 wait; beyond that the answer is a temporary `account.busy`. A login that was right
within ten minutes costs a keyed digest instead of a hash. Passwords never reach a log line.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import structlog

from mailbox_app.accounts.addresses import canonical
from mailbox_app.accounts.login_guard import LoginGuard, VerifiedLogins
from mailbox_app.accounts.model import Account, AccountState
from mailbox_app.accounts.passwords import MAX_BYTES, Hasher, prepare
from mailbox_app.accounts.tables import Credential
from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import AccountError, MailboxError
from mailbox_app.ids import AccountId
from mailbox_app.observe.metrics import Metrics

_HASHES_AT_ONCE = 2
"""Each takes 19 MiB and a core for 20 ms; more would starve mail in hand."""
_FLUSH_SECONDS = 5.0
"""Last logins are written together, this long after the first of them."""
_MAX_WAITING = 64
"""About a second of waiting; a client told to come back is better off than one that times out."""


class CredentialSource(Protocol):
    """What the authenticator needs of the directory."""

    def credential(self, address: str) -> Credential | None:
        """Cheap; called on the loop."""
        ...

    def rehash(self, credential: Credential, password_hash: str) -> None:
        """Slow; called in a thread."""
        ...

    def record_login(self, account_id: AccountId, at: datetime) -> None:
        """Cheap; kept in memory until `flush_logins`."""
        ...

    def flush_logins(self) -> None:
        """Slow; called in a thread."""
        ...


class PasswordAuthenticator:
    """One for all sessions of a process; lives on its loop."""

    def __init__(
        self,
        directory: CredentialSource,
        offload: Offload,
        clock: Clock,
        metrics: Metrics,
        *,
        hasher: Hasher | None = None,
    ) -> None:
        self._directory = directory
        self._offload = offload
        self._clock = clock
        self._metrics = metrics
        self._hasher = hasher or Hasher()
        self._guard = LoginGuard()
        self._verified = VerifiedLogins()
        self._slots = asyncio.Semaphore(_HASHES_AT_ONCE)
        self._waiting = 0
        self._dummy_hash = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._flushing: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("auth")

    async def login(self, address: str, password: str, *, protocol: str, remote_ip: str) -> Account | None:
        """The account, or None for any refusal. Raises only temporary errors: `account.busy`, storage trouble."""
        name = "@".join(canonical(address))
        prepared = prepare(password[: MAX_BYTES * 4])
        credential = self._directory.credential(address)
        fingerprint = self._verified.fingerprint(name, credential, prepared)
        now = self._clock.monotonic_seconds()
        usable = credential is not None and credential.account.state is AccountState.ACTIVE
        if usable and credential is not None and self._verified.knows(fingerprint, now):
            return self._succeeded(credential, protocol, remote_ip)
        if self._guard.refuses(remote_ip, name, now):
            self._tell("limited", name, protocol, remote_ip)
            return None
        right = await self._verify(credential if usable else None, prepared)
        if right and not _is_same(credential, self._directory.credential(address)):
            right = False  # changed while the hash was made: whoever ended the account's sessions did not see this one
        if not right or credential is None or not usable:
            self._guard.failed(remote_ip, name, fingerprint, self._clock.monotonic_seconds())
            self._tell("failure", name, protocol, remote_ip)
            return None
        self._verified.remember(fingerprint, self._clock.monotonic_seconds())
        if self._hasher.is_outdated(credential.password_hash):
            self._in_background(lambda: self._rehash(credential, prepared))
        return self._succeeded(credential, protocol, remote_ip)

    async def close(self) -> None:
        """Finish what runs in the background, write the last logins."""
        if self._flushing is not None:
            self._flushing.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._run(self._directory.flush_logins)

    async def _verify(self, credential: Credential | None, prepared: str) -> bool:
        if self._waiting >= _MAX_WAITING:
            raise AccountError("account.busy", "too many logins at once; try again", temporary=True)
        self._waiting += 1
        try:
            async with self._slots:
                return await self._offload.run(self._verify_now, credential, prepared)
        finally:
            self._waiting -= 1

    def _verify_now(self, credential: Credential | None, prepared: str) -> bool:
        if not self._dummy_hash:
            self._dummy_hash = self._hasher.hash(secrets.token_hex(16))
        stored = self._dummy_hash if credential is None else credential.password_hash
        return self._hasher.verify(stored, prepared) and credential is not None

    def _succeeded(self, credential: Credential, protocol: str, remote_ip: str) -> Account:
        account = credential.account
        self._tell("success", account.address, protocol, remote_ip)
        self._directory.record_login(account.account_id, self._clock.now())
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.get_running_loop().create_task(self._flush_soon())
        return account

    async def _flush_soon(self) -> None:
        await self._clock.sleep(_FLUSH_SECONDS)
        await self._run(self._directory.flush_logins)

    def _rehash(self, credential: Credential, prepared: str) -> None:
        self._directory.rehash(credential, self._hasher.hash(prepared))

    def _in_background(self, work: Callable[[], None]) -> None:
        """Nobody waits for it, and its failure changes no answer: it is tried again at a later login."""
        task = asyncio.get_running_loop().create_task(self._run(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, work: Callable[[], None]) -> None:
        try:
            await self._offload.run(work)
        except MailboxError as error:
            self._log.warning("login_not_recorded", code=error.code)

    def _tell(self, result: str, name: str, protocol: str, remote_ip: str) -> None:
        self._metrics.auth_attempts.labels(result=result, protocol=protocol).inc()
        level = self._log.info if result == "success" else self._log.warning
        level("login", result=result, account=name[:320], protocol=protocol, remote=remote_ip)


def _is_same(before: Credential | None, now: Credential | None) -> bool:
    """Whether the password and the account's state are what they were."""
    if before is None or now is None:
        return False
    return (before.version, before.account.account_id, before.account.state) == (
        now.version,
        now.account.account_id,
        now.account.state,
    )
