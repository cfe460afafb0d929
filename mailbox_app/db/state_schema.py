"""The tables of `state.db`: what all processes count together and may lose without losing mail.

One file, one row of migrations, several users: each subject's module (failed logins, bans, greylist, ...) keeps its own queries,
and all those of one process share the one `Database` that `open_state` makes. A new subject appends a migration; nothing is ever
edited.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from mailbox_app.db.sqlite import Database

_BUSY_SECONDS = 0.5
"""Nothing in there is worth a longer wait of a session."""
_READERS = 3
_CACHE_KIB = 1_000

MIGRATIONS: Sequence[str] = (
    """
    CREATE TABLE login_failures (
        network TEXT NOT NULL,
        name TEXT NOT NULL,
        guess BLOB NOT NULL,
        at_seconds REAL NOT NULL
    );
    CREATE INDEX login_failures_network ON login_failures (network, at_seconds);
    CREATE INDEX login_failures_at ON login_failures (at_seconds);
    """,
    """
    CREATE TABLE filter_memory (
        account_id INTEGER NOT NULL,
        kind TEXT NOT NULL,
        digest BLOB NOT NULL,
        until_seconds REAL NOT NULL,
        PRIMARY KEY (account_id, kind, digest)
    ) WITHOUT ROWID;
    CREATE INDEX filter_memory_until ON filter_memory (until_seconds);
    CREATE TABLE filter_counts (
        account_id INTEGER NOT NULL,
        kind TEXT NOT NULL,
        day INTEGER NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (account_id, kind)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE greylist (
        greylist_id INTEGER PRIMARY KEY,
        origin TEXT NOT NULL,
        sender_key TEXT NOT NULL,
        recipient TEXT NOT NULL,
        sender TEXT NOT NULL,
        remote_ip TEXT NOT NULL,
        reason TEXT NOT NULL,
        first_at_seconds REAL NOT NULL,
        last_at_seconds REAL NOT NULL,
        attempts INTEGER NOT NULL,
        passed_at_seconds REAL,
        UNIQUE (origin, sender_key, recipient)
    );
    CREATE INDEX greylist_waiting ON greylist (passed_at_seconds, first_at_seconds);
    CREATE INDEX greylist_last ON greylist (last_at_seconds);
    CREATE TABLE greylist_letters (
        sender TEXT NOT NULL,
        recipient TEXT NOT NULL,
        first_at_seconds REAL NOT NULL,
        counted_at_seconds REAL NOT NULL,
        last_at_seconds REAL NOT NULL,
        attempts INTEGER NOT NULL,
        PRIMARY KEY (sender, recipient)
    ) WITHOUT ROWID;
    CREATE INDEX greylist_letters_last ON greylist_letters (last_at_seconds);
    CREATE TABLE greylist_origins (
        origin TEXT PRIMARY KEY,
        passes INTEGER NOT NULL,
        last_at_seconds REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX greylist_origins_last ON greylist_origins (last_at_seconds);
    CREATE TABLE greylist_domains (
        domain TEXT PRIMARY KEY,
        spf_at_seconds REAL NOT NULL,
        dkim_at_seconds REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE greylist_allowed (
        kind TEXT NOT NULL,
        value TEXT NOT NULL,
        low BLOB,
        high BLOB,
        note TEXT NOT NULL,
        created_at_seconds REAL NOT NULL,
        PRIMARY KEY (kind, value)
    ) WITHOUT ROWID;
    CREATE TABLE correspondents (
        account_id INTEGER NOT NULL,
        address TEXT NOT NULL,
        last_at_seconds REAL NOT NULL,
        PRIMARY KEY (account_id, address)
    ) WITHOUT ROWID;
    CREATE INDEX correspondents_last ON correspondents (last_at_seconds);
    """,
    """
    CREATE TABLE bans (
        network TEXT PRIMARY KEY,
        source TEXT NOT NULL,
        reason TEXT NOT NULL,
        made_at_seconds REAL NOT NULL,
        expires_at_seconds REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE rates (
        key TEXT NOT NULL,
        window_seconds INTEGER NOT NULL,
        slot INTEGER NOT NULL,
        count INTEGER NOT NULL,
        expires_at_seconds REAL NOT NULL,
        UNIQUE (key, window_seconds, slot)
    );
    CREATE INDEX rates_expiry ON rates (expires_at_seconds);
    CREATE TABLE state_versions (subject TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
    """,
    """
    ALTER TABLE greylist_allowed RENAME TO greylist_allowed_for_all;
    CREATE TABLE greylist_allowed (
        kind TEXT NOT NULL,
        value TEXT NOT NULL,
        recipient TEXT NOT NULL,
        low BLOB,
        high BLOB,
        note TEXT NOT NULL,
        created_at_seconds REAL NOT NULL,
        PRIMARY KEY (kind, value, recipient)
    ) WITHOUT ROWID;
    INSERT INTO greylist_allowed (kind, value, recipient, low, high, note, created_at_seconds)
        SELECT kind, value, '', low, high, note, created_at_seconds FROM greylist_allowed_for_all;
    DROP TABLE greylist_allowed_for_all;
    """,
    """
    CREATE TABLE breakers (
        host TEXT PRIMARY KEY,
        changed_at_seconds REAL NOT NULL,
        body BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX breakers_changed ON breakers (changed_at_seconds);
    CREATE TABLE sending_addresses (
        address TEXT PRIMARY KEY,
        first_at_seconds REAL NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE suppressions (
        address TEXT PRIMARY KEY,
        days INTEGER NOT NULL,
        last_at_seconds REAL NOT NULL,
        text TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX suppressions_last ON suppressions (last_at_seconds);
    """,
)


def open_state(path: str | os.PathLike[str]) -> Database:
    """The file as every process opens it, once, after the fork."""
    return Database(
        path,
        MIGRATIONS,
        synchronous="NORMAL",
        busy_seconds=_BUSY_SECONDS,
        readers_kept=_READERS,
        cache_kib=_CACHE_KIB,
    )
