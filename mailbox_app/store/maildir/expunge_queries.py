"""SQL of taking messages out of a mailbox: set-based, so that ten thousand cost a handful of statements.

Which ones is said beforehand in the temporary table `chosen`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mailbox_app.store.maildir.queries import UID_BITS, MailboxRow, trim_expunged


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the chosen messages add up to."""

    message_count: int
    size_bytes: int
    unseen_count: int
    deleted_count: int


# choosing


def choose_deleted(connection: sqlite3.Connection, row: MailboxRow, uids: Sequence[int] | None) -> None:
    """Choose those of these UIDs (of all when None) that are marked \\Deleted."""
    _clear(connection)
    if uids is None:
        connection.execute(
            "INSERT INTO chosen SELECT message_key FROM message WHERE mailbox_id = ? AND flags & 8 <> 0",
            (row.mailbox_id,),
        )
        return
    connection.executemany(
        "INSERT INTO chosen SELECT message_key FROM message WHERE message_key BETWEEN ? AND ? AND flags & 8 <> 0",
        [(row.base + first, row.base + last) for first, last in _ranges(uids)],
    )


def choose(connection: sqlite3.Connection, keys: Iterable[int]) -> None:
    """Choose these keys."""
    _clear(connection)
    connection.executemany("INSERT INTO chosen VALUES (?)", [(key,) for key in keys])


def choose_mailbox(connection: sqlite3.Connection, row: MailboxRow) -> None:
    """Choose every message of a mailbox."""
    _clear(connection)
    span = (row.base, row.base + (1 << UID_BITS))
    connection.execute("INSERT INTO chosen SELECT message_key FROM message WHERE message_key BETWEEN ? AND ?", span)


def chosen_uids(connection: sqlite3.Connection, row: MailboxRow) -> list[int]:
    """The UIDs of the chosen ones, ascending."""
    found = connection.execute("SELECT message_key - ? FROM chosen ORDER BY message_key", (row.base,)).fetchall()
    return [uid for (uid,) in found]


def sum_chosen(connection: sqlite3.Connection) -> Chosen:
    """Their number and what the counters hold of them."""
    return Chosen(
        *connection.execute(
            "SELECT count(*), coalesce(sum(size_bytes), 0), coalesce(sum((flags & 1) = 0), 0),"
            " coalesce(sum((flags & 8) <> 0), 0) FROM message WHERE message_key IN (SELECT message_key FROM chosen)"
        ).fetchone()
    )


def _clear(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS chosen (message_key INTEGER PRIMARY KEY)")
    connection.execute("DELETE FROM chosen")


def _ranges(uids: Sequence[int]) -> list[tuple[int, int]]:
    """(first, last) of consecutive UIDs."""
    ordered = sorted(set(uids))
    if ordered and ordered[-1] - ordered[0] + 1 == len(ordered):
        return [(ordered[0], ordered[-1])]
    result: list[tuple[int, int]] = []
    for uid in ordered:
        if result and result[-1][1] == uid - 1:
            result[-1] = (result[-1][0], uid)
        else:
            result.append((uid, uid))
    return result


# removing what was chosen


def is_known(connection: sqlite3.Connection, key: int) -> bool:
    """Whether a message, there or retained, has the key."""
    query = (
        "SELECT 1 FROM message WHERE message_key = ?1 UNION ALL SELECT 1 FROM retained WHERE message_key = ?1 LIMIT 1"
    )
    return connection.execute(query, (key,)).fetchone() is not None


def doom_chosen(connection: sqlite3.Connection, mailbox_id: int) -> list[tuple[str, int]]:
    """(stem, name flags) of their files, which are unlinked after the commit; their wide rows go now."""
    connection.execute(
        "INSERT INTO doomed SELECT mailbox_id, stem, name_flags FROM message"
        " WHERE message_key IN (SELECT message_key FROM chosen) ON CONFLICT DO NOTHING"
    )
    forget_chosen_rendered(connection)
    return connection.execute("SELECT stem, name_flags FROM doomed WHERE mailbox_id = ?", (mailbox_id,)).fetchall()


def forget_chosen_rendered(connection: sqlite3.Connection) -> None:
    """Their wide rows."""
    connection.execute("DELETE FROM rendered WHERE message_key IN (SELECT message_key FROM chosen)")


def delete_chosen(connection: sqlite3.Connection, row: MailboxRow, modseq: int, count: int) -> None:
    """Their rows; the expunge log gets so many entries."""
    connection.execute("DELETE FROM message WHERE message_key IN (SELECT message_key FROM chosen)")
    connection.execute(
        "INSERT INTO expunged SELECT ?, ?, message_key - ? FROM chosen ORDER BY message_key",
        (row.mailbox_id, modseq, row.base),
    )
    trim_expunged(connection, row, count)
