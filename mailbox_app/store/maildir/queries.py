"""All SQL of an account's index. Functions take a connection; who holds which lock is `opened`'s business."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from mailbox_app.errors import StoreError
from mailbox_app.proto.message import Rendered
from mailbox_app.store.maildir.schema import BLOCK_BITS

UID_BITS = 32
_CHUNK = 500
_ROWS_A_STATEMENT = 32
_EXPUNGED_KEPT = 100_000
"""Entries of one mailbox's expunge log; who asks for older ones gets everything anew."""

Row = tuple[object, ...]
State = tuple[int, int, int, int, str]
"""(key, flags, size, name_flags, stem) of a message."""

_MESSAGE_COLUMNS = {
    "modseq": "message.modseq",
    "flags": "message.flags",
    "size_bytes": "message.size_bytes",
    "internal_seconds": "message.internal_seconds",
    "saved_seconds": "message.saved_seconds",
}
_RENDERED_COLUMNS = {
    name: f"rendered.{name}"
    for name in ("envelope", "bodystructure", "body", "parts", "email_id", "thread_id", "header")
}


@dataclass(slots=True)
class AccountRow:
    """The one row of `account`."""

    modseq: int
    used_bytes: int
    used_messages: int
    next_mailbox_id: int
    last_uidvalidity: int
    root_mtime: int
    retained_bytes: int = 0
    retained_messages: int = 0


@dataclass(slots=True)
class MailboxRow:
    """A row of `mailbox`; `keywords` is space-separated, in the order of their letters."""

    mailbox_id: int
    name: str
    folder: str
    uidvalidity: int
    uidnext: int
    uid_reserved: int
    highest_modseq: int
    expunged_floor: int
    message_count: int
    unseen_count: int
    deleted_count: int
    size_bytes: int
    first_recent_uid: int
    special_use: str | None
    keywords: str
    cur_mtime: int
    new_mtime: int

    @property
    def base(self) -> int:
        """The key of UID 0."""
        return self.mailbox_id << UID_BITS

    @property
    def keyword_names(self) -> tuple[str, ...]:
        """The keywords, the first has the letter a."""
        return tuple(self.keywords.split())


_ACCOUNT_NAMES = [field.name for field in fields(AccountRow)]
_MAILBOX_NAMES = [field.name for field in fields(MailboxRow)]
_SELECT_ACCOUNT = f"SELECT {', '.join(_ACCOUNT_NAMES)} FROM account"  # noqa: S608 - names of our own columns
_UPDATE_ACCOUNT = f"UPDATE account SET {', '.join(f'{name} = ?' for name in _ACCOUNT_NAMES)}"  # noqa: S608
_SELECT_MAILBOX = f"SELECT {', '.join(_MAILBOX_NAMES)} FROM mailbox"  # noqa: S608
_INSERT_MAILBOX = f"INSERT INTO mailbox ({', '.join(_MAILBOX_NAMES)}) VALUES ({', '.join('?' * len(_MAILBOX_NAMES))})"  # noqa: S608
# without the indexed columns: naming them would rewrite their index entries with every delivery
_UPDATED_NAMES = [name for name in _MAILBOX_NAMES if name not in {"mailbox_id", "name", "folder"}]
_UPDATE_MAILBOX = f"UPDATE mailbox SET {', '.join(f'{name} = ?' for name in _UPDATED_NAMES)} WHERE mailbox_id = ?"  # noqa: S608


def load_account(connection: sqlite3.Connection) -> AccountRow | None:
    """The account row; None in an index that was never filled."""
    row = connection.execute(_SELECT_ACCOUNT).fetchone()
    return AccountRow(*row) if row else None


def insert_account(connection: sqlite3.Connection, row: AccountRow) -> None:
    """Make the one row."""
    connection.execute("INSERT INTO account VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)", _values(row, _ACCOUNT_NAMES))


def save_account(connection: sqlite3.Connection, row: AccountRow) -> None:
    """Write it back."""
    connection.execute(_UPDATE_ACCOUNT, _values(row, _ACCOUNT_NAMES))


def load_mailbox(connection: sqlite3.Connection, mailbox_id: int) -> MailboxRow:
    """By id; raises `store.no_such_mailbox`."""
    row = connection.execute(_SELECT_MAILBOX + " WHERE mailbox_id = ?", (mailbox_id,)).fetchone()
    if row is None:
        raise StoreError("store.no_such_mailbox", "no such mailbox")
    return MailboxRow(*row)


def mailbox_exists(connection: sqlite3.Connection, mailbox_id: int) -> bool:
    """Whether the id is taken."""
    return connection.execute("SELECT 1 FROM mailbox WHERE mailbox_id = ?", (mailbox_id,)).fetchone() is not None


def find_mailbox(connection: sqlite3.Connection, name: str) -> MailboxRow | None:
    """By canonical name."""
    row = connection.execute(_SELECT_MAILBOX + " WHERE name = ?", (name,)).fetchone()
    return MailboxRow(*row) if row else None


def find_special(connection: sqlite3.Connection, special_use: str) -> MailboxRow | None:
    """By role."""
    row = connection.execute(
        _SELECT_MAILBOX + " WHERE special_use = ? ORDER BY mailbox_id LIMIT 1", (special_use,)
    ).fetchone()
    return MailboxRow(*row) if row else None


def all_mailboxes(connection: sqlite3.Connection) -> list[MailboxRow]:
    """All, by name."""
    return [MailboxRow(*row) for row in connection.execute(_SELECT_MAILBOX + " ORDER BY name")]


def insert_mailbox(connection: sqlite3.Connection, row: MailboxRow) -> None:
    """A new mailbox."""
    connection.execute(_INSERT_MAILBOX, _values(row, _MAILBOX_NAMES))


def save_mailbox(connection: sqlite3.Connection, row: MailboxRow) -> None:
    """Write it back, all but its name and folder."""
    connection.execute(_UPDATE_MAILBOX, [*_values(row, _UPDATED_NAMES), row.mailbox_id])


def save_mailbox_name(connection: sqlite3.Connection, row: MailboxRow) -> None:
    """Write back a new name and folder."""
    connection.execute(
        "UPDATE mailbox SET name = ?, folder = ? WHERE mailbox_id = ?", (row.name, row.folder, row.mailbox_id)
    )


def save_cur_mtime(connection: sqlite3.Connection, mailbox_id: int, mtime: int) -> None:
    """Only the time of change of the mailbox's `cur`."""
    connection.execute("UPDATE mailbox SET cur_mtime = ? WHERE mailbox_id = ?", (mtime, mailbox_id))


def delete_mailbox(connection: sqlite3.Connection, row: MailboxRow) -> None:
    """The mailbox and everything that belongs to it but its retained messages."""
    span = (row.base, row.base + (1 << UID_BITS))
    connection.execute("DELETE FROM message WHERE message_key >= ? AND message_key < ?", span)
    connection.execute(
        "DELETE FROM rendered WHERE message_key >= ? AND message_key < ? AND message_key NOT IN"
        " (SELECT message_key FROM retained WHERE message_key >= ? AND message_key < ?)",
        (*span, *span),
    )
    blocks = (span[0] >> BLOCK_BITS, span[1] >> BLOCK_BITS)
    connection.execute("DELETE FROM block WHERE block_key >= ? AND block_key < ?", blocks)
    for table in ("expunged", "doomed", "annotation", "acl", "mailbox"):
        connection.execute(f"DELETE FROM {table} WHERE mailbox_id = ?", (row.mailbox_id,))  # noqa: S608


def subscriptions(connection: sqlite3.Connection) -> list[str]:
    """Subscribed names in order."""
    return [str(name) for (name,) in connection.execute("SELECT name FROM subscription ORDER BY name")]


def is_subscribed(connection: sqlite3.Connection, name: str) -> bool:
    """Whether one name is subscribed."""
    return connection.execute("SELECT 1 FROM subscription WHERE name = ?", (name,)).fetchone() is not None


def subscribe(connection: sqlite3.Connection, name: str, subscribed: bool) -> None:
    """Add or remove one."""
    if subscribed:
        connection.execute("INSERT INTO subscription (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
    else:
        connection.execute("DELETE FROM subscription WHERE name = ?", (name,))


# messages


def insert_messages(connection: sqlite3.Connection, messages: Sequence[Row], rendered: Sequence[Row]) -> None:
    """Rows in the order of the tables' columns."""
    for table, rows in (("message", messages), ("rendered", rendered)):
        _insert(connection, table, rows)


def rendered_row(key: int, rendered: Rendered) -> Row:
    """A row of `rendered`."""
    return (
        key,
        rendered.envelope,
        rendered.bodystructure,
        rendered.body,
        rendered.parts,
        rendered.email_id,
        rendered.thread_id,
        rendered.header,
    )


def _insert(connection: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
    """Many rows a statement, in few different sizes that stay prepared: each statement is one hand-over of the GIL."""
    start = 0
    while start < len(rows):
        count = min(_ROWS_A_STATEMENT, 1 << (len(rows) - start).bit_length() - 1)
        part = rows[start : start + count]
        marks = f"({', '.join('?' * len(part[0]))})"
        statement = f"INSERT INTO {table} VALUES {', '.join([marks] * count)}"  # noqa: S608
        connection.execute(statement, list(itertools.chain.from_iterable(part)))
        start += count


def is_rendered(connection: sqlite3.Connection, key: int) -> bool:
    """Whether the wide columns of a message are there."""
    return connection.execute("SELECT 1 FROM rendered WHERE message_key = ?", (key,)).fetchone() is not None


def copy_rendered(connection: sqlite3.Connection, keys: Sequence[tuple[int, int]]) -> None:
    """The wide columns of (new key, old key) pairs, ascending; one statement for each run that keeps its distance."""
    runs: list[list[int]] = []
    for new, old in keys:
        if runs and runs[-1][0] == new - old and runs[-1][2] == old - 1:
            runs[-1][2] = old
        else:
            runs.append([new - old, old, old])
    connection.executemany(
        "INSERT INTO rendered SELECT message_key + ?, envelope, bodystructure, body, parts, email_id, thread_id, header"
        " FROM rendered WHERE message_key BETWEEN ? AND ? ORDER BY message_key",
        runs,
    )


def update_flags(connection: sqlite3.Connection, rows: Sequence[tuple[int, int, int]]) -> None:
    """(flags, modseq, key) each."""
    connection.executemany("UPDATE message SET flags = ?, modseq = ? WHERE message_key = ?", rows)


def update_name_flags(connection: sqlite3.Connection, rows: Sequence[tuple[int, int]]) -> None:
    """(flags in the file name, key) each."""
    connection.executemany("UPDATE message SET name_flags = ? WHERE message_key = ?", rows)


def flag_state(connection: sqlite3.Connection, row: MailboxRow) -> list[tuple[int, int, int]]:
    """(uid, flags, modseq) of the whole mailbox, ascending."""
    return connection.execute(
        "SELECT message_key - ?, flags, modseq FROM message WHERE message_key > ? AND message_key < ? ORDER BY message_key",
        (row.base, row.base, row.base + (1 << UID_BITS)),
    ).fetchall()


def states(connection: sqlite3.Connection, row: MailboxRow, uids: Sequence[int] | None) -> list[State]:
    """States of these UIDs (all when None), ascending; missing ones are left out."""
    result: list[State] = []
    for chunk in _selected(
        connection, "SELECT message_key, flags, size_bytes, name_flags, stem FROM message", row.mailbox_id, uids
    ):
        result.extend(chunk)
    return result


def flag_rows(connection: sqlite3.Connection, row: MailboxRow, uids: Sequence[int]) -> list[tuple[int, int, int]]:
    """(key, flags, modseq) of these UIDs, ascending; missing ones are left out."""
    result: list[tuple[int, int, int]] = []
    for chunk in _selected(connection, "SELECT message_key, flags, modseq FROM message", row.mailbox_id, uids):
        result.extend(chunk)
    return result


def internal_dates(connection: sqlite3.Connection, row: MailboxRow, uids: Sequence[int]) -> list[tuple[int, int]]:
    """(key, internal seconds) of these UIDs."""
    result: list[tuple[int, int]] = []
    for chunk in _selected(connection, "SELECT message_key, internal_seconds FROM message", row.mailbox_id, uids):
        result.extend(chunk)
    return result


def message_rows(
    connection: sqlite3.Connection, mailbox_id: int, uids: Sequence[int]
) -> list[tuple[int, int, int, int, int]]:
    """(uid, modseq, flags, size, internal seconds), ascending."""
    result: list[tuple[int, int, int, int, int]] = []
    columns = f"message_key - {mailbox_id << UID_BITS}, modseq, flags, size_bytes, internal_seconds"
    for chunk in _selected(connection, f"SELECT {columns} FROM message", mailbox_id, uids):  # noqa: S608
        result.extend(chunk)
    return result


def rendered_query(mailbox_id: int, columns: Sequence[str]) -> str:
    """SELECT (uid, columns...) from the narrowest tables; raises ValueError for a column nobody has."""
    tables: list[str] = []
    names = [""]
    for column in columns:
        for table, known in (
            ("message", _MESSAGE_COLUMNS),
            ("rendered", _RENDERED_COLUMNS),
        ):
            if column in known:
                names.append(known[column])
                if table not in tables:
                    tables.append(table)
                break
        else:
            if column != "uid":
                raise ValueError(f"no such column: {column}")
            names.append("")
    if "message" not in tables:
        tables.append("message")  # a retained message has its wide columns still
    uid = f"{tables[0]}.message_key - {mailbox_id << UID_BITS}"
    joins = "".join(f" JOIN {table} ON {table}.message_key = {tables[0]}.message_key" for table in tables[1:])
    return f"SELECT {', '.join(name or uid for name in names)} FROM {tables[0]}{joins}"  # noqa: S608


def selected(
    connection: sqlite3.Connection, query: str, mailbox_id: int, uids: Sequence[int]
) -> list[tuple[object, ...]]:
    """Rows of one chunk of at most 500 UIDs for a query from `rendered_query`."""
    table = query.partition(" FROM ")[2].split(" ", 1)[0]
    return next(_selected(connection, query, mailbox_id, uids, f"{table}.message_key"), [])


def chunks(uids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Ascending pieces of at most 500 UIDs."""
    ordered = sorted(set(uids))
    for start in range(0, len(ordered), _CHUNK):
        yield ordered[start : start + _CHUNK]


def _selected(
    connection: sqlite3.Connection,
    query: str,
    mailbox_id: int,
    uids: Sequence[int] | None,
    key: str = "message_key",
) -> Iterator[list[Any]]:
    base = mailbox_id << UID_BITS
    if uids is None:
        span = (base, base + (1 << UID_BITS))
        yield connection.execute(f"{query} WHERE {key} > ? AND {key} < ? ORDER BY {key}", span).fetchall()
        return
    for chunk in chunks(uids):
        if chunk[-1] - chunk[0] + 1 == len(chunk):
            span = (base + chunk[0], base + chunk[-1])
            yield connection.execute(f"{query} WHERE {key} BETWEEN ? AND ? ORDER BY {key}", span).fetchall()
        else:
            marks = ", ".join("?" * len(chunk))
            keys = [base + uid for uid in chunk]
            yield connection.execute(f"{query} WHERE {key} IN ({marks}) ORDER BY {key}", keys).fetchall()


def count_rendered(connection: sqlite3.Connection, row: MailboxRow) -> int:
    """Rows of `rendered` that belong to messages in one mailbox."""
    span = (row.base, row.base + (1 << UID_BITS))
    query = (
        "SELECT count(*) FROM rendered WHERE message_key BETWEEN ? AND ?"
        " AND NOT EXISTS (SELECT 1 FROM retained WHERE retained.message_key = rendered.message_key)"
    )
    return int(connection.execute(query, span).fetchone()[0])


def changed_since(connection: sqlite3.Connection, row: MailboxRow, modseq: int) -> list[tuple[int, int, int]]:
    """(uid, flags, modseq) of what has a higher modseq, ascending by UID."""
    return connection.execute(
        "SELECT message_key - ?, flags, modseq FROM message WHERE mailbox_id = ? AND modseq > ? ORDER BY message_key",
        (row.base, row.mailbox_id, modseq),
    ).fetchall()


# removals


def trim_expunged(connection: sqlite3.Connection, row: MailboxRow, count: int) -> None:
    """After `count` new entries: the oldest ones beyond the bound go and raise the floor.

    Counting reads the whole log, so a few entries more than the bound may wait for a later call.
    """
    spare = max(1, _EXPUNGED_KEPT // 1_000)
    if count < spare and row.highest_modseq % spare:
        return
    oldest = connection.execute(
        "SELECT modseq FROM expunged WHERE mailbox_id = ? ORDER BY modseq DESC LIMIT 1 OFFSET ?",
        (row.mailbox_id, _EXPUNGED_KEPT),
    ).fetchone()
    if oldest is not None:
        row.expunged_floor = max(row.expunged_floor, oldest[0])
        connection.execute(
            "DELETE FROM expunged WHERE mailbox_id = ? AND modseq <= ?", (row.mailbox_id, row.expunged_floor)
        )


def expunged_since(connection: sqlite3.Connection, row: MailboxRow, modseq: int) -> list[int]:
    """UIDs removed after a modseq, ascending."""
    found = connection.execute(
        "SELECT uid FROM expunged WHERE mailbox_id = ? AND modseq > ? ORDER BY uid", (row.mailbox_id, modseq)
    )
    return [uid for (uid,) in found]


def doomed(connection: sqlite3.Connection, mailbox_id: int | None = None) -> list[tuple[int, str, int]]:
    """(mailbox id, stem, name flags) of files that are still to be unlinked."""
    where, parameters = ("", ()) if mailbox_id is None else (" WHERE mailbox_id = ?", (mailbox_id,))
    return connection.execute(f"SELECT mailbox_id, stem, name_flags FROM doomed{where}", parameters).fetchall()  # noqa: S608


def pardon(connection: sqlite3.Connection, files: Iterable[tuple[int, str]]) -> None:
    """Forget (mailbox id, stem) of files that are gone."""
    connection.executemany("DELETE FROM doomed WHERE mailbox_id = ? AND stem = ?", files)


# file names that wait for their flags


def pending_names(connection: sqlite3.Connection, limit: int) -> list[tuple[int, int, int, int, str]]:
    """(mailbox id, key, flags, name flags, stem)."""
    return connection.execute(
        "SELECT mailbox_id, message_key, flags, name_flags, stem FROM message WHERE flags <> name_flags LIMIT ?",
        (limit,),
    ).fetchall()


def _values(row: AccountRow | MailboxRow, names: Sequence[str]) -> list[object]:
    return [getattr(row, name) for name in names]
