"""The SQL of aliases and lists in `directory.db`; rules and transactions are the directory's."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from mailbox_app.accounts.model import Alias, AliasKind, Post, at

_COLUMNS = (
    "address, targets, created_seconds, kind, description, enabled, members_may_send, post, posters, owner, max_bytes"
)


def alias_at(connection: sqlite3.Connection, address: str) -> Alias | None:
    """The alias with this canonical address (`@domain` for a catch-all)."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM aliases WHERE address = ?", (address,)).fetchone()  # noqa: S608 - a constant
    return None if row is None else _alias(row)


def aliases(connection: sqlite3.Connection, domain: str | None) -> list[Alias]:
    """By domain and address."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM aliases WHERE ? IS NULL OR domain = ? ORDER BY domain, address",  # noqa: S608 - a constant
        (domain, domain),
    ).fetchall()
    return [_alias(row) for row in rows]


def naming(connection: sqlite3.Connection, address: str) -> list[str]:
    """Aliases that name this address as a target, a poster or the owner; canonical, by address."""
    rows = connection.execute(
        "SELECT address FROM aliases WHERE owner = ?1"
        " OR instr(char(10) || lower(targets) || char(10), char(10) || ?1 || char(10))"
        " OR instr(char(10) || posters || char(10), char(10) || ?1 || char(10)) ORDER BY address",
        (address,),
    ).fetchall()
    return [str(row[0]) for row in rows]


def insert_alias(connection: sqlite3.Connection, alias: Alias) -> None:
    """A new alias; one that is there becomes this one and keeps the time it was made."""
    connection.execute(
        f"INSERT INTO aliases ({_COLUMNS}, domain) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - a constant
        " ON CONFLICT (address) DO UPDATE SET targets = excluded.targets, kind = excluded.kind,"
        " description = excluded.description, enabled = excluded.enabled, members_may_send = excluded.members_may_send,"
        " post = excluded.post, posters = excluded.posters, owner = excluded.owner, max_bytes = excluded.max_bytes",
        (
            alias.address, "\n".join(alias.targets), int(alias.created_at.timestamp()), alias.kind.value,
            alias.description, int(alias.enabled), int(alias.members_may_send), alias.post.value,
            "\n".join(alias.posters), alias.owner, alias.max_bytes, alias.address.rpartition("@")[2],
        ),
    )  # fmt: skip


def delete_alias(connection: sqlite3.Connection, address: str) -> None:
    """One alias."""
    connection.execute("DELETE FROM aliases WHERE address = ?", (address,))


def _alias(row: Sequence[str | int]) -> Alias:
    return Alias(
        address=str(row[0]),
        targets=tuple(str(row[1]).split("\n")),
        created_at=at(int(row[2])),
        kind=AliasKind(str(row[3])),
        description=str(row[4]),
        enabled=bool(row[5]),
        members_may_send=bool(row[6]),
        post=Post(str(row[7])),
        posters=tuple(filter(None, str(row[8]).split("\n"))),
        owner=str(row[9]),
        max_bytes=int(row[10]),
    )
