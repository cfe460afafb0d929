"""The tables of `tls.db`: MTA-STS policies as fetched, how well domains encrypt, what administrators excepted.

A migration is appended, never edited. Everything but the exceptions can be found out again from the network; those are also in the
audit.
"""

from __future__ import annotations

from collections.abc import Sequence

MIGRATIONS: Sequence[str] = (
    """
    CREATE TABLE sts_policies (
        domain TEXT PRIMARY KEY,
        record_id TEXT NOT NULL,
        mode TEXT NOT NULL,
        max_age_seconds INTEGER NOT NULL,
        patterns TEXT NOT NULL,
        fetched_at_seconds REAL NOT NULL,
        expires_at_seconds REAL NOT NULL,
        used_at_seconds REAL NOT NULL,
        tried_at_seconds REAL NOT NULL,
        failure TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX sts_policies_tried ON sts_policies (tried_at_seconds);
    CREATE TABLE tls_levels (
        domain TEXT PRIMARY KEY,
        level INTEGER NOT NULL,
        since_seconds REAL NOT NULL,
        days INTEGER NOT NULL,
        last_day INTEGER NOT NULL,
        missing_since_seconds REAL NOT NULL,
        failing_since_seconds REAL NOT NULL,
        failures INTEGER NOT NULL,
        failure TEXT NOT NULL,
        failed_at_seconds REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX tls_levels_last ON tls_levels (last_day);
    CREATE TABLE tls_exceptions (
        domain TEXT PRIMARY KEY,
        until_seconds REAL NOT NULL,
        made_at_seconds REAL NOT NULL,
        allows_clear INTEGER NOT NULL,
        reason TEXT NOT NULL
    ) WITHOUT ROWID;
    """,
)
