"""The tables of `state.db`: what all processes count together and may lose without losing mail.

One file, one row of migrations, several users: each subject's module (failed logins, bans, greylist, reputation, ...) keeps its
own queries and opens its own `Database` with these migrations. A new subject appends a migration; nothing is ever edited.
"""

from __future__ import annotations

from collections.abc import Sequence

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
)
