"""SQL of what is kept of expunged messages, so that they can come back.

A retained message keeps its row in `rendered` where it is: a key is never given out twice. What a rebuild found has none: it is
made when the message comes back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mailbox_app.store.maildir.queries import UID_BITS, Row

WAITING, MOVED, WITH_MAILBOX = 0, 1, 2
"""Where a retained file is: still in its mailbox's `cur`; in the folder of the expunged; there inside the deleted mailbox."""

RETAINED_COLUMNS = "message_key, expunged_seconds, flags, size_bytes, internal_seconds, name_flags, stem, place"
_KEPT = "message_key, mailbox_id, ?, flags, size_bytes, internal_seconds, name_flags, stem, ?"


@dataclass(frozen=True, slots=True)
class RetainedRow:
    """A row of `retained` as far as its file matters."""

    key: int
    expunged_seconds: int
    flags: int
    size_bytes: int
    internal_seconds: int
    name_flags: int
    stem: str
    place: int

    @property
    def mailbox_id(self) -> int:
        """The mailbox it was in."""
        return self.key >> UID_BITS

    @property
    def uid(self) -> int:
        """The UID it had."""
        return self.key & (1 << UID_BITS) - 1


def retain_chosen(connection: sqlite3.Connection, expunged_seconds: int, place: int = WAITING) -> None:
    """Keep of the messages in `chosen` what restoring needs."""
    connection.execute(
        f"INSERT INTO retained SELECT {_KEPT} FROM message WHERE message_key IN (SELECT message_key FROM chosen)",  # noqa: S608
        (expunged_seconds, place),
    )


def insert_retained(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Rows in the order of the table's columns; what is known already stays."""
    connection.executemany("INSERT INTO retained VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", rows)


def waiting(connection: sqlite3.Connection, limit: int) -> list[RetainedRow]:
    """Those whose files are still in their mailboxes, one mailbox after the other."""
    query = f"SELECT {RETAINED_COLUMNS} FROM retained WHERE place = 0 ORDER BY mailbox_id, message_key LIMIT ?"  # noqa: S608
    return [RetainedRow(*row) for row in connection.execute(query, (limit,))]


def with_mailbox(connection: sqlite3.Connection, mailbox_id: int) -> list[RetainedRow]:
    """Those whose files went away with their mailbox."""
    query = f"SELECT {RETAINED_COLUMNS} FROM retained WHERE message_key BETWEEN ? AND ? AND place = ?"  # noqa: S608
    return [RetainedRow(*row) for row in connection.execute(query, (*_span(mailbox_id), WITH_MAILBOX))]


def waiting_stems(connection: sqlite3.Connection, mailbox_id: int) -> set[str]:
    """The stems of files that still lie in one mailbox."""
    query = "SELECT stem FROM retained WHERE mailbox_id = ? AND place = 0"
    return {stem for (stem,) in connection.execute(query, (mailbox_id,))}


def retained_at(connection: sqlite3.Connection, keys: Sequence[int]) -> list[RetainedRow]:
    """Rows of these keys, ascending; what is not retained is left out."""
    result: list[RetainedRow] = []
    ordered = sorted(set(keys))
    for start in range(0, len(ordered), 500):
        part = ordered[start : start + 500]
        query = (
            f"SELECT {RETAINED_COLUMNS} FROM retained"  # noqa: S608
            f" WHERE message_key IN ({', '.join('?' * len(part))}) ORDER BY message_key"
        )
        result.extend(RetainedRow(*row) for row in connection.execute(query, part))
    return result


def oldest(connection: sqlite3.Connection, limit: int) -> list[RetainedRow]:
    """What was expunged first, of those whose files have left their mailboxes."""
    query = f"SELECT {RETAINED_COLUMNS} FROM retained WHERE place <> 0 ORDER BY expunged_seconds, message_key LIMIT ?"  # noqa: S608
    return [RetainedRow(*row) for row in connection.execute(query, (limit,))]


def moved_after(connection: sqlite3.Connection, key: int) -> list[RetainedRow]:
    """Up to 500 rows with higher keys whose files have left their mailboxes, ascending."""
    query = (
        f"SELECT {RETAINED_COLUMNS} FROM retained WHERE message_key > ? AND place <> 0 ORDER BY message_key LIMIT 500"  # noqa: S608
    )
    return [RetainedRow(*row) for row in connection.execute(query, (key,))]


def set_places(connection: sqlite3.Connection, place: int, keys: Iterable[int]) -> None:
    """Where these files are now."""
    connection.executemany("UPDATE retained SET place = ? WHERE message_key = ?", [(place, key) for key in keys])


def waiting_went_along(connection: sqlite3.Connection, mailbox_id: int) -> None:
    """The mailbox's folder was moved with what still lay in it."""
    query = "UPDATE retained SET place = ? WHERE mailbox_id = ? AND place = ?"
    connection.execute(query, (WITH_MAILBOX, mailbox_id, WAITING))


def drop_retained(connection: sqlite3.Connection, keys: Sequence[int]) -> None:
    """They can no longer be restored: rows and wide rows."""
    parameters = [(key,) for key in keys]
    for table in ("retained", "rendered"):
        connection.executemany(f"DELETE FROM {table} WHERE message_key = ?", parameters)  # noqa: S608


def has_retained(connection: sqlite3.Connection, mailbox_id: int) -> bool:
    """Whether anything of the mailbox is retained."""
    query = "SELECT 1 FROM retained WHERE message_key BETWEEN ? AND ? LIMIT 1"
    return connection.execute(query, _span(mailbox_id)).fetchone() is not None


def sum_retained(connection: sqlite3.Connection) -> tuple[int, int]:
    """(bytes, messages), counted anew."""
    found: tuple[int, int] = connection.execute(
        "SELECT coalesce(sum(size_bytes), 0), count(*) FROM retained"
    ).fetchone()
    return found


def remember_origin(connection: sqlite3.Connection, mailbox_id: int, name: str, keywords: str) -> None:
    """What a mailbox with retained messages is called, and what its keywords are."""
    connection.execute(
        "INSERT INTO origin VALUES (?, ?, ?) ON CONFLICT (mailbox_id) DO UPDATE SET"
        " name = excluded.name, keywords = excluded.keywords",
        (mailbox_id, name, keywords),
    )


def origins(connection: sqlite3.Connection) -> dict[int, tuple[str, str]]:
    """{mailbox id: (name, keywords)}: of mailboxes that are there as they are now, else as they were last."""
    found = connection.execute(
        "SELECT origin.mailbox_id, coalesce(mailbox.name, origin.name), coalesce(mailbox.keywords, origin.keywords)"
        " FROM origin LEFT JOIN mailbox ON mailbox.mailbox_id = origin.mailbox_id"
    )
    return {mailbox_id: (name, keywords) for mailbox_id, name, keywords in found}


def forget_origin(connection: sqlite3.Connection, mailbox_id: int) -> None:
    """Nothing of the mailbox is retained any more."""
    connection.execute("DELETE FROM origin WHERE mailbox_id = ?", (mailbox_id,))


def listed(
    connection: sqlite3.Connection, mailbox_ids: Sequence[int] | None, since: int, before: tuple[int, int], limit: int
) -> list[tuple[RetainedRow, bytes]]:
    """(row, header) of those expunged at `since` or later, latest first, from before (time, key) on."""
    where = "expunged_seconds >= ? AND (expunged_seconds, retained.message_key) < (?, ?)"
    parameters: list[object] = [since, *before]
    if mailbox_ids is not None:
        where += f" AND mailbox_id IN ({', '.join('?' * len(mailbox_ids))})"
        parameters += mailbox_ids
    columns = "retained." + RETAINED_COLUMNS
    found = connection.execute(
        f"SELECT {columns}, coalesce(header, x'') FROM retained"  # noqa: S608 - names and marks of our own
        " LEFT JOIN rendered ON rendered.message_key = retained.message_key"
        f" WHERE {where} ORDER BY expunged_seconds DESC, retained.message_key DESC LIMIT ?",
        [*parameters, limit],
    )
    return [(RetainedRow(*row[:-1]), bytes(row[-1])) for row in found]


def _span(mailbox_id: int) -> tuple[int, int]:
    return mailbox_id << UID_BITS, (mailbox_id + 1 << UID_BITS) - 1
