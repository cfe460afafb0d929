# ruff: noqa: S608 - only constants are put into statements; values are always bound
"""The SQL of signing keys in `directory.db`: functions over a connection, without rules of their own."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from mailbox_app.accounts.model import DkimKey, KeyState, at

_COLUMNS = (
    "domain, selector, algorithm, private_pem, public_txt, created_seconds, state, changed_seconds, published_seconds"
)


def keys_of(connection: sqlite3.Connection, domain: str, states: Sequence[KeyState] = tuple(KeyState)) -> list[DkimKey]:
    """Keys of a domain in these states, by selector."""
    marks = ", ".join("?" * len(states))
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM dkim_keys WHERE domain = ? AND state IN ({marks}) ORDER BY selector",
        (domain, *states),
    )
    return [_key(row) for row in rows]


def domains_with_keys(connection: sqlite3.Connection) -> list[str]:
    """Domains that have a key which is not retired."""
    rows = connection.execute("SELECT DISTINCT domain FROM dkim_keys WHERE state <> 'retired' ORDER BY domain")
    return [domain for (domain,) in rows]


def insert(connection: sqlite3.Connection, key: DkimKey) -> bool:
    """False when the selector is taken."""
    done = connection.execute(
        f"INSERT INTO dkim_keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL) ON CONFLICT DO NOTHING",
        (
            key.domain, key.selector, key.algorithm, key.private_pem, key.public_txt, int(key.created_at.timestamp()),
            key.state, int((key.changed_at or key.created_at).timestamp()),
        ),
    )  # fmt: skip
    return done.rowcount == 1


def set_state(connection: sqlite3.Connection, domain: str, selector: str, state: KeyState, now_seconds: int) -> None:
    """The row of a retired key stays, so that its selector is not used again; its private half does not."""
    connection.execute(
        "UPDATE dkim_keys SET state = ?1, changed_seconds = ?2,"
        " private_pem = CASE ?1 WHEN 'retired' THEN x'' ELSE private_pem END WHERE domain = ?3 AND selector = ?4",
        (state, now_seconds, domain, selector),
    )


def set_published(connection: sqlite3.Connection, domain: str, selector: str, seconds: int | None) -> None:
    """Since when its record is everywhere; None: it is not."""
    connection.execute(
        "UPDATE dkim_keys SET published_seconds = ? WHERE domain = ? AND selector = ?", (seconds, domain, selector)
    )


def _key(row: Sequence[object]) -> DkimKey:
    domain, selector, algorithm, pem, txt, created, state, changed, published = row
    assert isinstance(pem, bytes)
    return DkimKey(
        str(domain), str(selector), str(algorithm), pem, str(txt), at(_int(created)), KeyState(str(state)),
        at(_int(changed)), None if published is None else at(_int(published)),
    )  # fmt: skip


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
