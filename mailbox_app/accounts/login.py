"""Checks logins for every protocol, at the same cost whoever asks.

An unknown, disabled or removed name is hashed against a dummy exactly as a known one, so the time tells nothing (D16). At most
two hashes run at once and at most 64 wait; beyond that the answer is a temporary `account.busy`. A login that was right
within ten minutes costs a keyed digest instead of a hash. Passwords never reach a log line.

SCRAM, certificates and tokens end here too, so that guard, log and metrics are the same for all. A failed proof does not tell which
password it was made from, so the guard takes all failed proofs for one name as the same guess: a telephone with an old password
blocks only itself, and ten tries at one name are still the end for that name.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

import structlog

from mailbox_app.accounts.addresses import canonical
from mailbox_app.accounts.app_passwords import form_of, stored_hash
from mailbox_app.accounts.login_failures import LoginFailures
from mailbox_app.accounts.login_guard import LoginGuard, VerifiedLogins
from mailbox_app.accounts.model import Account, AccountState
from mailbox_app.accounts.passwords import MAX_BYTES, SCRAM_ITERATIONS, SCRAM_SALT_BYTES, Hasher, prepare
from mailbox_app.accounts.sasl import Attempt
from mailbox_app.accounts.tables import Credential
from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import AccountError, MailboxError
from mailbox_app.ids import AccountId
from mailbox_app.observe.metrics import Metrics
from mailbox_app.proto.sasl.scram_keys import ScramKeys

_HASHES_AT_ONCE = 2
"""Each takes 19 MiB and a core for 20 ms; more would starve mail in hand."""
_FLUSH_SECONDS = 5.0
"""Last logins are written together, this long after the first of them."""
_NOT_GUESSED = "\0"
"""In the place of a guess that was no password: all of them for one name are the same guess."""
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

    def keep_scram_keys(self, credential: Credential, keys: Sequence[ScramKeys]) -> None:
        """Slow; called in a thread."""
        ...

    def secret(self) -> bytes:
        """Random, the same in all processes; cheap but for the first time."""
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
        failures: LoginFailures | None = None,
    ) -> None:
        """`failures`: those of all processes; without it this one's count alone."""
        self._directory = directory
        self._offload = offload
        self._clock = clock
        self._metrics = metrics
        self._hasher = hasher or Hasher()
        self._guard = LoginGuard()
        self._failures = failures
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
        # an app password that is good for one protocol must not be remembered for another
        scope = f"\0{protocol}" if form_of(prepared) else ""
        fingerprint = self._verified.fingerprint(name, credential, prepared + scope)
        now = self._clock.monotonic_seconds()
        usable = credential is not None and credential.account.state is AccountState.ACTIVE
        if usable and credential is not None and self._verified.knows(fingerprint, now):
            return self._succeeded(credential, protocol, remote_ip)
        if self._guard.refuses(remote_ip, name, now):
            self._tell("limited", name, protocol, remote_ip)
            return None
        stored, guess = stored_hash(credential, prepared, protocol) if usable and credential else ("", prepared)
        right = await self._verify(stored, guess, remote_ip, name)
        if right is None:
            self._tell("limited", name, protocol, remote_ip)
            return None
        if right and not _is_same(credential, self._directory.credential(address)):
            right = False  # changed while the hash was made: whoever ended the account's sessions did not see this one
        if not right or credential is None or not usable:
            self._guard.failed(remote_ip, name, fingerprint, self._clock.monotonic_seconds())
            self._tell("failure", name, protocol, remote_ip)
            return None
        self._verified.remember(fingerprint, self._clock.monotonic_seconds())
        if stored != credential.password_hash:  # an app password tells nothing about the account's own
            return self._succeeded(credential, protocol, remote_ip, "app password")
        if self._hasher.is_outdated(stored):
            self._in_background(lambda: self._rehash(credential, prepared))
        if not credential.scram:  # an account from before SCRAM: the only moment its password is known
            self._in_background(lambda: self._directory.keep_scram_keys(credential, self._hasher.scram_keys(prepared)))
        return self._succeeded(credential, protocol, remote_ip)

    # proofs: `accounts.sasl.Proofs`

    def scram_keys(self, address: str, hash_name: str) -> ScramKeys:
        """Those of the account, or made-up ones that are the same each time and in every process."""
        name = "@".join(canonical(address))
        credential = self._directory.credential(address)
        secret = self._directory.secret()
        made_up = [
            hmac.digest(secret, f"{purpose} {hash_name} {name}".encode("utf-8", "replace"), "sha256")
            for purpose in ("salt", "stored", "server")
        ]
        if credential is not None and credential.account.state is AccountState.ACTIVE:
            for keys in credential.scram:
                if keys.hash_name == hash_name:
                    return keys
        return ScramKeys(hash_name, made_up[0][:SCRAM_SALT_BYTES], SCRAM_ITERATIONS, made_up[1], made_up[2])

    async def login_by_proof(self, address: str, keys: ScramKeys, attempt: Attempt, *, right: bool) -> Account | None:
        """Counts keys that are not the account's, or no more, as wrong whatever the proof says."""
        name = "@".join(canonical(address))
        if await self.is_limited(name, attempt):
            return None
        credential = self._directory.credential(address)
        usable = credential is not None and credential.account.state is AccountState.ACTIVE
        if credential is None or not usable or not right or keys not in credential.scram:
            await self._refuse(attempt, name)
            return None
        return self._succeeded(credential, attempt.protocol, attempt.remote_ip, attempt.mechanism)

    async def login_vouched(self, addresses: Sequence[str], attempt: Attempt, *, claimed: str = "") -> Account | None:
        """The first of the addresses that is an active account."""
        name = "@".join(canonical(claimed or (addresses[0] if addresses else "")))
        if await self.is_limited(name, attempt):
            return None
        for address in addresses:
            credential = self._directory.credential(address)
            if credential is not None and credential.account.state is AccountState.ACTIVE:
                return self._succeeded(credential, attempt.protocol, attempt.remote_ip, attempt.mechanism)
        await self._refuse(attempt, name)
        return None

    async def is_limited(self, claimed: str, attempt: Attempt) -> bool:
        """Of this client for this name; told like any refusal."""
        name = "@".join(canonical(claimed))
        limited = self._guard.refuses(attempt.remote_ip, name, self._clock.monotonic_seconds())
        if not limited and self._failures is not None:
            limited = await self._offload.run(self._failures.refuses, attempt.remote_ip, name)
        if limited:
            self._tell("limited", name, attempt.protocol, attempt.remote_ip, attempt.mechanism)
        return limited

    async def _refuse(self, attempt: Attempt, name: str) -> None:
        fingerprint = self._verified.fingerprint(name, None, _NOT_GUESSED)
        self._guard.failed(attempt.remote_ip, name, fingerprint, self._clock.monotonic_seconds())
        if self._failures is not None:
            await self._offload.run(self._failures.failed, attempt.remote_ip, name, _NOT_GUESSED)
        self._tell("failure", name, attempt.protocol, attempt.remote_ip, attempt.mechanism)

    async def close(self) -> None:
        """Finish what runs in the background, write the last logins."""
        if self._flushing is not None:
            self._flushing.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._run(self._directory.flush_logins)

    async def _verify(self, stored: str, prepared: str, remote_ip: str, name: str) -> bool | None:
        """`stored` empty: nobody's. None: this remote address has guessed enough at other processes."""
        if self._waiting >= _MAX_WAITING:
            raise AccountError("account.busy", "too many logins at once; try again", temporary=True)
        self._waiting += 1
        try:
            async with self._slots:
                return await self._offload.run(self._verify_now, stored, prepared, remote_ip, name)
        finally:
            self._waiting -= 1

    def _verify_now(self, stored: str, prepared: str, remote_ip: str, name: str) -> bool | None:
        if self._failures is not None and self._failures.refuses(remote_ip, name):
            return None
        if not self._dummy_hash:
            self._dummy_hash = self._hasher.hash(secrets.token_hex(16))
        right = self._hasher.verify(stored or self._dummy_hash, prepared) and bool(stored)
        if not right and self._failures is not None:
            self._failures.failed(remote_ip, name, prepared)
        return right

    def _succeeded(self, credential: Credential, protocol: str, remote_ip: str, mechanism: str = "password") -> Account:
        account = credential.account
        self._tell("success", account.address, protocol, remote_ip, mechanism)
        self._directory.record_login(account.account_id, self._clock.now())
        if self._failures is not None:
            self._failures.succeeded(remote_ip)
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

    def _tell(self, result: str, name: str, protocol: str, remote_ip: str, mechanism: str = "password") -> None:
        self._metrics.auth_attempts.labels(result=result, protocol=protocol).inc()
        level = self._log.info if result == "success" else self._log.warning
        level("login", result=result, account=name[:320], protocol=protocol, mechanism=mechanism, remote=remote_ip)


def _is_same(before: Credential | None, now: Credential | None) -> bool:
    """Whether the password and the account's state are what they were."""
    if before is None or now is None:
        return False
    return (before.version, before.account.account_id, before.account.state) == (
        now.version,
        now.account.account_id,
        now.account.state,
    )
