"""SQL of annotations and access lists. Functions take a connection; who holds which lock is `opened`'s business."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from mailbox_app.store.model import SystemFlag

_DELETED = int(SystemFlag.DELETED)


def entries(connection: sqlite3.Connection, mailbox_id: int) -> dict[str, bytes]:
    """Entries of one mailbox (0: of the account), by entry."""
    query = "SELECT entry, value FROM annotation WHERE mailbox_id = ? ORDER BY entry"
    return {str(entry): bytes(value) for entry, value in connection.execute(query, (mailbox_id,))}


def annotation_bytes(connection: sqlite3.Connection) -> int:
    """All values of the account."""
    return int(connection.execute("SELECT coalesce(sum(length(value)), 0) FROM annotation").fetchone()[0])


def replace_annotations(connection: sqlite3.Connection, mailbox_id: int, entries: Mapping[str, bytes]) -> None:
    """Exactly these from now on."""
    connection.execute("DELETE FROM annotation WHERE mailbox_id = ?", (mailbox_id,))
    rows = [(mailbox_id, entry, value) for entry, value in entries.items()]
    connection.executemany("INSERT INTO annotation VALUES (?, ?, ?)", rows)


def acl(connection: sqlite3.Connection, mailbox_id: int) -> dict[str, str]:
    """Identifier to rights of one mailbox."""
    query = "SELECT identifier, rights FROM acl WHERE mailbox_id = ? ORDER BY identifier"
    return {str(identifier): str(rights) for identifier, rights in connection.execute(query, (mailbox_id,))}


def acls(connection: sqlite3.Connection) -> list[tuple[int, str, str]]:
    """(mailbox id, identifier, rights) of the account."""
    return connection.execute(
        "SELECT mailbox_id, identifier, rights FROM acl ORDER BY mailbox_id, identifier"
    ).fetchall()


def replace_acl(connection: sqlite3.Connection, mailbox_id: int, entries: Mapping[str, str]) -> None:
    """Exactly these from now on."""
    connection.execute("DELETE FROM acl WHERE mailbox_id = ?", (mailbox_id,))
    rows = [(mailbox_id, identifier, rights) for identifier, rights in entries.items()]
    connection.executemany("INSERT INTO acl VALUES (?, ?, ?)", rows)


def identifiers(connection: sqlite3.Connection) -> set[str]:
    """Everybody named in any list of the account with rights, not against them."""
    found = connection.execute("SELECT DISTINCT identifier FROM acl WHERE identifier NOT LIKE '-%'")
    return {str(identifier) for (identifier,) in found}


def deleted_bytes(connection: sqlite3.Connection, mailbox_id: int) -> int:
    """Size of the messages marked \\Deleted; through the partial index of marked ones."""
    query = f"SELECT coalesce(sum(size_bytes), 0) FROM message WHERE mailbox_id = ? AND flags & {_DELETED} <> 0"  # noqa: S608
    return int(connection.execute(query, (mailbox_id,)).fetchone()[0])


def share(connection: sqlite3.Connection, owner: str, identifiers: Iterable[str]) -> None:
    """Note that this account may name these (in `shares.db`)."""
    rows = [(owner, identifier) for identifier in identifiers]
    connection.executemany("INSERT INTO share VALUES (?, ?) ON CONFLICT DO NOTHING", rows)


def unshare(connection: sqlite3.Connection, owner: str) -> None:
    """Forget one account's (in `shares.db`)."""
    connection.execute("DELETE FROM share WHERE owner = ?", (owner,))


def owners(connection: sqlite3.Connection, identifier: str) -> list[str]:
    """Accounts that name it (in `shares.db`)."""
    found = connection.execute("SELECT owner FROM share WHERE identifier = ? ORDER BY owner", (identifier,))
    return [str(owner) for (owner,) in found]


def is_complete(connection: sqlite3.Connection) -> bool:
    """Whether every account was looked at since the file was made (in `shares.db`)."""
    return connection.execute("SELECT 1 FROM complete").fetchone() is not None


def set_complete(connection: sqlite3.Connection) -> None:
    """Every account was looked at (in `shares.db`)."""
    connection.execute("INSERT INTO complete VALUES (1) ON CONFLICT DO NOTHING")


SHARES_MIGRATIONS = (
    """
CREATE TABLE share (
    owner TEXT NOT NULL,
    identifier TEXT NOT NULL,
    PRIMARY KEY (identifier, owner)
);
CREATE INDEX share_owner ON share (owner);
CREATE TABLE complete (one INTEGER PRIMARY KEY);
""",
)
