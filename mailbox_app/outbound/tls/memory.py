"""What is remembered of other domains' encryption, on disk: cached MTA-STS policies, best levels, exceptions. SQLite, synchronous.

One `TlsMemory` per process; call it in a thread. Rows it has read are kept for a minute, so a busy domain costs no look into the
file per message. A damaged file is put aside and begun anew: mail goes on, and policies are fetched again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.sqlite import Database
from mailbox_app.errors import StoreError
from mailbox_app.outbound.tls.tables import MIGRATIONS
from mailbox_app.proto.mta_sts_policy import StsMode, StsPolicy

_KEPT_SECONDS = 60.0
_KEPT_ROWS = 5_000
_DAY_SECONDS = 86_400
_FORGET_LEVELS_DAYS = 120
_FORGET_POLICIES_SECONDS = 30 * _DAY_SECONDS
_FORGET_EXCEPTIONS_SECONDS = 90 * _DAY_SECONDS


_POLICY_COLUMNS = (
    "domain, record_id, mode, max_age_seconds, patterns, fetched_at_seconds, expires_at_seconds, used_at_seconds,"
    " tried_at_seconds, failure"
)
_LEVEL_COLUMNS = (
    "domain, level, since_seconds, days, last_day, missing_since_seconds, failing_since_seconds, failures, failure,"
    " failed_at_seconds"
)
_EXCEPTION_COLUMNS = "domain, until_seconds, made_at_seconds, allows_clear, reason"
_TEN = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FIND_POLICY = f"SELECT {_POLICY_COLUMNS} FROM sts_policies WHERE domain = ?"  # noqa: S608 - constants
_FIND_LEVEL = f"SELECT {_LEVEL_COLUMNS} FROM tls_levels WHERE domain = ?"  # noqa: S608 - constants
_FIND_EXCEPTION = f"SELECT {_EXCEPTION_COLUMNS} FROM tls_exceptions WHERE domain = ?"  # noqa: S608 - constants
_PUT_POLICY = f"INSERT OR REPLACE INTO sts_policies ({_POLICY_COLUMNS}) VALUES {_TEN}"  # noqa: S608 - constants
_PUT_LEVEL = f"INSERT OR REPLACE INTO tls_levels ({_LEVEL_COLUMNS}) VALUES {_TEN}"  # noqa: S608 - constants
_PUT_EXCEPTION = f"INSERT OR REPLACE INTO tls_exceptions ({_EXCEPTION_COLUMNS}) VALUES (?, ?, ?, ?, ?)"  # noqa: S608 - constants
_DUE_POLICIES = (
    f"SELECT {_POLICY_COLUMNS} FROM sts_policies WHERE tried_at_seconds < ? AND used_at_seconds > ?"  # noqa: S608 - constants
    " ORDER BY tried_at_seconds LIMIT ?"
)
_TAKE_EXCEPTION = f"DELETE FROM tls_exceptions WHERE domain = ? RETURNING {_EXCEPTION_COLUMNS}"  # noqa: S608 - constants
_ALL_EXCEPTIONS = f"SELECT {_EXCEPTION_COLUMNS} FROM tls_exceptions ORDER BY domain LIMIT 10000"  # noqa: S608 - constants


class Level(IntEnum):
    """How well a domain has taken mail."""

    CLEAR = 0
    ENCRYPTED = 1
    VERIFIED = 2


@dataclass(frozen=True, slots=True)
class CachedPolicy:
    """One fetched policy."""

    domain: str
    record_id: str
    policy: StsPolicy
    fetched_at_seconds: float
    expires_at_seconds: float
    used_at_seconds: float
    tried_at_seconds: float
    failure: str = ""
    """Why the last fetch failed, if it did."""


@dataclass(frozen=True, slots=True)
class DomainLevel:
    """The best level of one domain."""

    domain: str
    level: Level = Level.CLEAR
    since_seconds: float = 0.0
    """Encrypted without a gap since."""
    days: int = 0
    """On how many different days."""
    last_day: int = 0
    missing_since_seconds: float = 0.0
    """When it first offered no encryption any more; 0: it does."""
    failing_since_seconds: float = 0.0
    """Since when TLS with it fails, without a success in between; 0: it does not."""
    failures: int = 0
    failure: str = ""
    failed_at_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class TlsException:
    """An administrator's word that a domain's policies do not count for a while."""

    domain: str
    until_seconds: float
    made_at_seconds: float
    allows_clear: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Remembered:
    """All that is known of one domain."""

    policy: CachedPolicy | None
    level: DomainLevel
    exception: TlsException | None
    """Also one that is over."""


class TlsMemory:
    """The file `tls.db`."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._database = _opened(path)
        self._kept: OrderedDict[str, tuple[float, Remembered]] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def kept(self, domain: str) -> Remembered | None:
        """Without a look into the file; None when one is needed. For the loop."""
        with self._lock:
            found = self._kept.get(domain)
            if found is None or found[0] <= self._clock.monotonic_seconds():
                return None
            self._kept.move_to_end(domain)
            return found[1]

    def load(self, domain: str) -> Remembered:
        """Everything about a domain."""
        with self._database.reading() as db:
            policy = db.execute(_FIND_POLICY, (domain,)).fetchone()
            level = db.execute(_FIND_LEVEL, (domain,)).fetchone()
            exception = db.execute(_FIND_EXCEPTION, (domain,)).fetchone()
        found = Remembered(
            _policy(policy) if policy else None,
            _level(level) if level else DomainLevel(domain),
            _exception(exception) if exception else None,
        )
        self._keep(domain, found)
        return found

    def put_policy(self, row: CachedPolicy) -> None:
        """A policy that was just fetched, or that was tried to be."""
        policy = row.policy
        with self._database.transaction(durable=False) as db:
            db.execute(
                _PUT_POLICY,
                (row.domain, row.record_id, str(policy.mode), policy.max_age_seconds, "\n".join(policy.patterns),
                 row.fetched_at_seconds, row.expires_at_seconds, row.used_at_seconds, row.tried_at_seconds, row.failure),
            )  # fmt: skip
        self._update(row.domain, policy=row)

    def policies_due(self, tried_before: float, used_after: float, limit: int) -> list[CachedPolicy]:
        """Policies to fetch again: not looked at for a while, in use."""
        with self._database.reading() as db:
            rows = db.execute(
                _DUE_POLICIES,
                (tried_before, used_after, limit),
            ).fetchall()
        return [_policy(row) for row in rows]

    def put_level(self, row: DomainLevel) -> None:
        """What is now known of a domain's level."""
        with self._database.transaction(durable=False) as db:
            db.execute(
                _PUT_LEVEL,
                (row.domain, int(row.level), row.since_seconds, row.days, row.last_day, row.missing_since_seconds,
                 row.failing_since_seconds, row.failures, row.failure, row.failed_at_seconds),
            )  # fmt: skip
        self._update(row.domain, level=row)

    def put_exception(self, row: TlsException) -> None:
        """Durable: an administrator said so."""
        with self._database.transaction() as db:
            db.execute(
                _PUT_EXCEPTION,
                (row.domain, row.until_seconds, row.made_at_seconds, row.allows_clear, row.reason),
            )
        self._forget(row.domain)

    def remove_exception(self, domain: str) -> TlsException | None:
        """The exception that was there."""
        with self._database.transaction() as db:
            row = db.execute(_TAKE_EXCEPTION, (domain,)).fetchone()
        self._forget(domain)
        return _exception(row) if row else None

    def exceptions(self) -> list[TlsException]:
        """All, also those that are over, by domain."""
        with self._database.reading() as db:
            rows = db.execute(_ALL_EXCEPTIONS).fetchall()
        return [_exception(row) for row in rows]

    def purge(self) -> None:
        """Drop what is too old to matter."""
        now = self._clock.epoch_seconds()
        with self._database.transaction(durable=False) as db:
            db.execute("DELETE FROM sts_policies WHERE expires_at_seconds < ?", (now - _FORGET_POLICIES_SECONDS,))
            db.execute("DELETE FROM tls_levels WHERE last_day < ?", (int(now // _DAY_SECONDS) - _FORGET_LEVELS_DAYS,))
            db.execute("DELETE FROM tls_exceptions WHERE until_seconds < ?", (now - _FORGET_EXCEPTIONS_SECONDS,))

    def _keep(self, domain: str, found: Remembered) -> None:
        with self._lock:
            self._kept[domain] = (self._clock.monotonic_seconds() + _KEPT_SECONDS, found)
            self._kept.move_to_end(domain)
            if len(self._kept) > _KEPT_ROWS:
                self._kept.popitem(last=False)

    def _update(self, domain: str, **changed: object) -> None:
        with self._lock:
            if (found := self._kept.get(domain)) is not None:
                self._kept[domain] = (found[0], replace(found[1], **changed))  # type: ignore[arg-type]

    def _forget(self, domain: str) -> None:
        with self._lock:
            self._kept.pop(domain, None)


def _policy(row: tuple[str, str, str, int, str, float, float, float, float, str]) -> CachedPolicy:
    domain, record_id, mode, max_age, patterns, fetched, expires, used, tried, failure = row
    policy = StsPolicy(StsMode(mode), max_age, tuple(patterns.split("\n")) if patterns else ())
    return CachedPolicy(domain, record_id, policy, fetched, expires, used, tried, failure)


def _level(row: tuple[str, int, float, int, int, float, float, int, str, float]) -> DomainLevel:
    domain, level, *rest = row
    return DomainLevel(domain, Level(level), *rest)  # type: ignore[arg-type]


def _exception(row: tuple[str, float, float, int, str]) -> TlsException:
    domain, until, made, allows_clear, reason = row
    return TlsException(domain, until, made, bool(allows_clear), reason)


def _opened(path: Path) -> Database:
    try:
        return Database(path, MIGRATIONS, busy_seconds=2.0)
    except StoreError as error:
        if error.code != "store.damaged":
            raise
        for ending in ("", "-wal", "-shm"):
            file = path.with_name(f"{path.name}{ending}")
            if file.exists():
                file.replace(path.with_name(f"{path.name}{ending}.damaged"))
        structlog.get_logger("outbound").error("tls_memory_damaged", kept_as=f"{path.name}.damaged")
        return Database(path, MIGRATIONS, busy_seconds=2.0)
