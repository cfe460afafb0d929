"""All SQL of `directory.db` about what logins are checked against beside the password's hash. Functions without rules of their own.

SCRAM keys carry the version of the password they were made from: keys of an older password are never read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from mailbox_app.accounts.model import AppPassword, at
from mailbox_app.proto.sasl.scram_keys import ScramKeys

MIGRATION = """
    CREATE TABLE scram_keys (
        account_id INTEGER NOT NULL,
        hash TEXT NOT NULL,
        version INTEGER NOT NULL,
        salt BLOB NOT NULL,
        iterations INTEGER NOT NULL,
        stored_key BLOB NOT NULL,
        server_key BLOB NOT NULL,
        PRIMARY KEY (account_id, hash)
    );
    CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL);
    CREATE TABLE app_passwords (
        app_password_id INTEGER PRIMARY KEY AUTOINCREMENT,
        account_id INTEGER NOT NULL,
        label TEXT NOT NULL,
        selector TEXT NOT NULL,
        protocols TEXT NOT NULL,
        password_hash TEXT NOT NULL,
        created_seconds INTEGER NOT NULL,
        UNIQUE (account_id, selector)
    );
    CREATE UNIQUE INDEX app_passwords_label ON app_passwords (account_id, label);
"""


def secret(connection: sqlite3.Connection, name: str) -> bytes | None:
    """A random value of this server."""
    row = connection.execute("SELECT value FROM secrets WHERE name = ?", (name,)).fetchone()
    return None if row is None else bytes(row[0])


def keep_secret(connection: sqlite3.Connection, name: str, value: bytes) -> None:
    """Unless another process was first."""
    connection.execute("INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING", (name, value))


def scram_keys(connection: sqlite3.Connection, account_id: int, version: int) -> Sequence[ScramKeys]:
    """Those of the present password."""
    rows = connection.execute(
        "SELECT hash, salt, iterations, stored_key, server_key FROM scram_keys WHERE account_id = ? AND version = ?",
        (account_id, version),
    ).fetchall()
    return tuple(ScramKeys(*row) for row in rows)


def replace_scram_keys(
    connection: sqlite3.Connection, account_id: int, version: int, keys: Iterable[ScramKeys]
) -> None:
    """Keys of the password with this version in the place of older ones; without effect when it was changed meanwhile."""
    row = connection.execute("SELECT credential_version FROM accounts WHERE account_id = ?", (account_id,)).fetchone()
    if row is None or row[0] != version:
        return
    connection.execute("DELETE FROM scram_keys WHERE account_id = ?", (account_id,))
    connection.executemany(
        "INSERT INTO scram_keys (account_id, hash, version, salt, iterations, stored_key, server_key)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (account_id, each.hash_name, version, each.salt, each.iterations, each.stored_key, each.server_key)
            for each in keys
        ],
    )


def version_of(connection: sqlite3.Connection, account_id: int) -> int:
    """The version of the account's present password."""
    row = connection.execute("SELECT credential_version FROM accounts WHERE account_id = ?", (account_id,)).fetchone()
    return int(row[0])


def app_passwords(connection: sqlite3.Connection, account_id: int) -> Sequence[AppPassword]:
    """The oldest first."""
    rows = connection.execute(
        "SELECT app_password_id, label, selector, protocols, password_hash, created_seconds FROM app_passwords"
        " WHERE account_id = ? ORDER BY app_password_id",
        (account_id,),
    ).fetchall()
    return tuple(AppPassword(row[0], row[1], row[2], tuple(row[3].split()), row[4], at(row[5])) for row in rows)


def insert_app_password(
    connection: sqlite3.Connection,
    account_id: int,
    label: str,
    selector: str,
    protocols: Sequence[str],
    password_hash: str,
    now_seconds: int,
) -> bool:
    """False when the label (or the selector) is taken."""
    done = connection.execute(
        "INSERT INTO app_passwords (account_id, label, selector, protocols, password_hash, created_seconds)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (account_id, label, selector, " ".join(protocols), password_hash, now_seconds),
    )
    return done.rowcount == 1


def delete_app_password(connection: sqlite3.Connection, account_id: int, label: str) -> bool:
    """Whether there was one. All logins of the account become void; its password stays, so its SCRAM keys do."""
    done = connection.execute("DELETE FROM app_passwords WHERE account_id = ? AND label = ?", (account_id, label))
    if done.rowcount == 1:
        connection.execute(
            "UPDATE scram_keys SET version = version + 1 WHERE account_id = ?1 AND version ="
            " (SELECT credential_version FROM accounts WHERE account_id = ?1)",
            (account_id,),
        )
        connection.execute(
            "UPDATE accounts SET credential_version = credential_version + 1 WHERE account_id = ?", (account_id,)
        )
    return done.rowcount == 1


def delete_of_account(connection: sqlite3.Connection, account_id: int) -> None:
    """Everything about an account that is forgotten."""
    connection.execute("DELETE FROM scram_keys WHERE account_id = ?", (account_id,))
    connection.execute("DELETE FROM app_passwords WHERE account_id = ?", (account_id,))
