"""All SQL of `directory.db`: functions over a connection, without rules of their own.

Portable between SQLite and PostgreSQL (ON CONFLICT, RETURNING) but for AUTOINCREMENT, which keeps ids from being used twice.
Each writer that readers must notice calls `bump`: recording a login does not, so a busy evening never empties the caches.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mailbox_app.accounts import credential_tables
from mailbox_app.accounts.model import Account, AccountState, AppPassword, Domain, DomainRule, at
from mailbox_app.ids import AccountId
from mailbox_app.proto.sasl.scram_keys import ScramKeys

MIGRATIONS: Sequence[str] = (
    """
    CREATE TABLE generation (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL);
    INSERT INTO generation VALUES (1, 1);
    CREATE TABLE domains (
        domain_id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        created_seconds INTEGER NOT NULL
    );
    CREATE TABLE accounts (
        account_id INTEGER PRIMARY KEY AUTOINCREMENT,
        address TEXT NOT NULL,
        domain TEXT NOT NULL,
        state TEXT NOT NULL,
        quota_bytes INTEGER NOT NULL,
        password_hash TEXT NOT NULL,
        credential_version INTEGER NOT NULL DEFAULT 1,
        created_seconds INTEGER NOT NULL,
        removed_seconds INTEGER,
        removed_place TEXT NOT NULL DEFAULT '',
        last_login_seconds INTEGER
    );
    CREATE UNIQUE INDEX accounts_address ON accounts (address) WHERE state <> 'removed';
    CREATE INDEX accounts_domain ON accounts (domain, account_id);
    CREATE TABLE aliases (
        address TEXT PRIMARY KEY,
        domain TEXT NOT NULL,
        targets TEXT NOT NULL,
        created_seconds INTEGER NOT NULL
    );
    CREATE INDEX aliases_domain ON aliases (domain);
    CREATE TABLE dkim_keys (
        domain TEXT NOT NULL,
        selector TEXT NOT NULL,
        algorithm TEXT NOT NULL,
        private_pem BLOB NOT NULL,
        public_txt TEXT NOT NULL,
        created_seconds INTEGER NOT NULL,
        active INTEGER NOT NULL,
        PRIMARY KEY (domain, selector)
    );
    """,
    "ALTER TABLE accounts ADD COLUMN state_before TEXT NOT NULL DEFAULT 'active'",
    credential_tables.MIGRATION,
    "ALTER TABLE accounts ADD COLUMN quota_messages INTEGER NOT NULL DEFAULT 0",
    """
    ALTER TABLE domains ADD COLUMN alias_of TEXT NOT NULL DEFAULT '';
    ALTER TABLE domains ADD COLUMN separators TEXT;
    ALTER TABLE aliases ADD COLUMN kind TEXT NOT NULL DEFAULT 'alias';
    ALTER TABLE aliases ADD COLUMN description TEXT NOT NULL DEFAULT '';
    ALTER TABLE aliases ADD COLUMN enabled INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE aliases ADD COLUMN members_may_send INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE aliases ADD COLUMN post TEXT NOT NULL DEFAULT 'anyone';
    ALTER TABLE aliases ADD COLUMN posters TEXT NOT NULL DEFAULT '';
    ALTER TABLE aliases ADD COLUMN owner TEXT NOT NULL DEFAULT '';
    ALTER TABLE aliases ADD COLUMN max_bytes INTEGER NOT NULL DEFAULT 0;
    """,
    """
    ALTER TABLE dkim_keys ADD COLUMN state TEXT NOT NULL DEFAULT 'active';
    ALTER TABLE dkim_keys ADD COLUMN changed_seconds INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE dkim_keys ADD COLUMN published_seconds INTEGER;
    UPDATE dkim_keys SET changed_seconds = created_seconds;
    UPDATE dkim_keys SET state = 'retired' WHERE active = 0;
    ALTER TABLE dkim_keys DROP COLUMN active;
    """,
)

_ACCOUNT = (
    "account_id, address, state, quota_bytes, created_seconds, last_login_seconds, credential_version, quota_messages"
)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a login is checked against. `version` grows with every change of the password."""

    account: Account
    password_hash: str = field(repr=False)
    version: int
    scram: Sequence[ScramKeys] = ()
    """Of the same password; none for an account that is older than SCRAM here and has not logged in since."""
    app_passwords: Sequence[AppPassword] = ()


@dataclass(frozen=True, slots=True)
class Removed:
    """An account in the trash."""

    account: Account
    removed_at: datetime
    place: str
    """Where its mail went, as the store named it; empty until the store has moved it."""


def bump(connection: sqlite3.Connection) -> None:
    """Tell all readers, in every process, that what they remember is old."""
    connection.execute("UPDATE generation SET number = number + 1")


def generation(connection: sqlite3.Connection) -> int:
    """Grows with every change readers must notice."""
    return int(connection.execute("SELECT number FROM generation").fetchone()[0])


# reading


def has_domain(connection: sqlite3.Connection, name: str) -> bool:
    """Whether this domain is ours."""
    return connection.execute("SELECT 1 FROM domains WHERE name = ?", (name,)).fetchone() is not None


def domains(connection: sqlite3.Connection, name: str | None = None) -> list[Domain]:
    """By name, with counts; only one when named."""
    rows = connection.execute(
        "SELECT name, created_seconds,"
        " (SELECT count(*) FROM accounts WHERE domain = name AND state <> 'removed'),"
        " (SELECT count(*) FROM aliases WHERE domain = name), alias_of, separators"
        " FROM domains WHERE ? IS NULL OR name = ? ORDER BY name",
        (name, name),
    ).fetchall()
    selectors: dict[str, list[str]] = {}
    for domain, selector in connection.execute(
        "SELECT domain, selector FROM dkim_keys WHERE state = 'active' ORDER BY selector"
    ):
        selectors.setdefault(domain, []).append(selector)
    return [
        Domain(row[0], at(row[1]), row[2], row[3], tuple(selectors.get(row[0], ())), row[4], row[5]) for row in rows
    ]


def rule_of(connection: sqlite3.Connection, name: str) -> DomainRule | None:
    """How addresses of a domain are read; None when it is not ours."""
    row = connection.execute("SELECT alias_of, separators FROM domains WHERE name = ?", (name,)).fetchone()
    return None if row is None else DomainRule(row[0], row[1])


def domains_for(connection: sqlite3.Connection, name: str) -> list[str]:
    """The domains that stand for this one."""
    return [row[0] for row in connection.execute("SELECT name FROM domains WHERE alias_of = ? ORDER BY name", (name,))]


def oldest_domain(connection: sqlite3.Connection) -> str | None:
    """The first domain there was that has addresses of its own."""
    row = connection.execute("SELECT name FROM domains WHERE alias_of = '' ORDER BY domain_id LIMIT 1").fetchone()
    return None if row is None else str(row[0])


def account_at(connection: sqlite3.Connection, address: str) -> Account | None:
    """The account with this canonical address, unless removed."""
    row = connection.execute(
        f"SELECT {_ACCOUNT} FROM accounts WHERE address = ? AND state <> 'removed'",  # noqa: S608 - a constant
        (address,),
    ).fetchone()
    return None if row is None else _account(row)


def account_with_id(connection: sqlite3.Connection, account_id: int) -> Account | None:
    """The account with this id, unless removed."""
    row = connection.execute(
        f"SELECT {_ACCOUNT} FROM accounts WHERE account_id = ? AND state <> 'removed'",  # noqa: S608 - a constant
        (account_id,),
    ).fetchone()
    return None if row is None else _account(row)


def first_account(connection: sqlite3.Connection, domain: str | None) -> Account | None:
    """The oldest account of a domain, or of the server."""
    row = connection.execute(
        f"SELECT {_ACCOUNT} FROM accounts WHERE state <> 'removed' AND (? IS NULL OR domain = ?)"  # noqa: S608 - a constant
        " ORDER BY account_id LIMIT 1",
        (domain, domain),
    ).fetchone()
    return None if row is None else _account(row)


def accounts(connection: sqlite3.Connection, domain: str | None) -> list[Account]:
    """By address, without removed ones."""
    rows = connection.execute(
        f"SELECT {_ACCOUNT} FROM accounts WHERE state <> 'removed' AND (? IS NULL OR domain = ?)"  # noqa: S608 - a constant
        " ORDER BY domain, address",
        (domain, domain),
    ).fetchall()
    return [_account(row) for row in rows]


def credential(connection: sqlite3.Connection, address: str) -> Credential | None:
    """What a login as this canonical address is checked against."""
    row = connection.execute(
        f"SELECT {_ACCOUNT}, password_hash FROM accounts"  # noqa: S608 - a constant
        " WHERE address = ? AND state <> 'removed'",
        (address,),
    ).fetchone()
    if row is None:
        return None
    return Credential(
        _account(row),
        row[8],
        row[6],
        credential_tables.scram_keys(connection, row[0], row[6]),
        credential_tables.app_passwords(connection, row[0]),
    )


def is_removed(connection: sqlite3.Connection, address: str) -> bool:
    """Whether an account with this canonical address is in the trash."""
    found = connection.execute("SELECT 1 FROM accounts WHERE address = ? AND state = 'removed' LIMIT 1", (address,))
    return found.fetchone() is not None


def removed_accounts(connection: sqlite3.Connection, address: str | None = None) -> list[Removed]:
    """The trash, newest first."""
    rows = connection.execute(
        f"SELECT {_ACCOUNT}, removed_seconds, removed_place FROM accounts"  # noqa: S608 - a constant
        " WHERE state = 'removed' AND (? IS NULL OR address = ?) ORDER BY removed_seconds DESC, account_id DESC",
        (address, address),
    ).fetchall()
    return [Removed(_account(row), at(row[8]), row[9]) for row in rows]


# writing


def insert_domain(connection: sqlite3.Connection, name: str, now_seconds: int, alias_of: str = "") -> bool:
    """False when it is there already."""
    done = connection.execute(
        "INSERT INTO domains (name, created_seconds, alias_of) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (name, now_seconds, alias_of),
    )
    return done.rowcount == 1


def update_separators(connection: sqlite3.Connection, name: str, separators: str | None) -> None:
    """None: as the server's configuration says."""
    connection.execute("UPDATE domains SET separators = ? WHERE name = ?", (separators, name))


def delete_domain(connection: sqlite3.Connection, name: str) -> None:
    """The domain and its signing keys."""
    connection.execute("DELETE FROM domains WHERE name = ?", (name,))
    connection.execute("DELETE FROM dkim_keys WHERE domain = ?", (name,))


def insert_account(
    connection: sqlite3.Connection, address: str, password_hash: str, quota_bytes: int, now_seconds: int
) -> AccountId:
    """A new account and its id."""
    row = connection.execute(
        "INSERT INTO accounts (address, domain, state, quota_bytes, password_hash, created_seconds)"
        " VALUES (?, ?, 'active', ?, ?, ?) RETURNING account_id",
        (address, address.rpartition("@")[2], quota_bytes, password_hash, now_seconds),
    ).fetchone()
    return AccountId(row[0])


def update_password(connection: sqlite3.Connection, account_id: int, password_hash: str) -> None:
    """A new password: everything remembered about the old one is void."""
    connection.execute(
        "UPDATE accounts SET password_hash = ?, credential_version = credential_version + 1 WHERE account_id = ?",
        (password_hash, account_id),
    )


def replace_hash(connection: sqlite3.Connection, account_id: int, version: int, password_hash: str) -> None:
    """The same password hashed anew, unless it was changed meanwhile."""
    connection.execute(
        "UPDATE accounts SET password_hash = ? WHERE account_id = ? AND credential_version = ?",
        (password_hash, account_id, version),
    )


def update_quota(connection: sqlite3.Connection, account_id: int, quota_bytes: int, quota_messages: int | None) -> None:
    """0: no limit; None: as it is."""
    connection.execute(
        "UPDATE accounts SET quota_bytes = ?, quota_messages = coalesce(?, quota_messages) WHERE account_id = ?",
        (quota_bytes, quota_messages, account_id),
    )


def update_state(
    connection: sqlite3.Connection, account_id: int, state: AccountState, removed_seconds: int | None
) -> None:
    """Also clears or sets the time of removal, and keeps what the state was before."""
    connection.execute(
        "UPDATE accounts SET state_before = state, state = ?, removed_seconds = ?, removed_place = ''"
        " WHERE account_id = ?",
        (state.value, removed_seconds, account_id),
    )


def restore_state(connection: sqlite3.Connection, account_id: int) -> None:
    """Out of the trash, as it was: one that was disabled stays so."""
    connection.execute(
        "UPDATE accounts SET state = state_before, removed_seconds = NULL, removed_place = ''"
        " WHERE account_id = ? AND state = 'removed'",
        (account_id,),
    )


def update_removed_place(connection: sqlite3.Connection, account_id: int, place: str) -> None:
    """Where a removed account's mail lies."""
    connection.execute("UPDATE accounts SET removed_place = ? WHERE account_id = ?", (place, account_id))


def delete_account(connection: sqlite3.Connection, account_id: int) -> None:
    """Forget a removed account for good."""
    done = connection.execute("DELETE FROM accounts WHERE account_id = ? AND state = 'removed'", (account_id,))
    if done.rowcount:
        credential_tables.delete_of_account(connection, account_id)


def update_logins(connection: sqlite3.Connection, logins: Iterable[tuple[int, int]]) -> None:
    """(seconds, account id) of last logins."""
    connection.executemany(
        "UPDATE accounts SET last_login_seconds = ?1 WHERE account_id = ?2 AND coalesce(last_login_seconds, 0) < ?1",
        logins,
    )


def _account(row: Sequence[object]) -> Account:
    account_id, address, state, quota_bytes, created, last_login, version, quota_messages = row[:8]
    return Account(
        AccountId(_int(account_id)),
        str(address),
        AccountState(str(state)),
        _int(quota_bytes),
        at(_int(created)),
        None if last_login is None else at(_int(last_login)),
        _int(version),
        _int(quota_messages),
    )


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(value)
    return value
