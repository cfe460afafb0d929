"""All SQL of search.db. Functions take a connection; keys of messages are `mailbox id * 2^32 + uid`."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

UID_BITS = 32
_UIDS = (1 << UID_BITS) - 1
_MARKS = 500


@dataclass(slots=True)
class MailboxRow:
    """How far one mailbox is done."""

    mailbox_id: int
    uidvalidity: int
    next_uid: int
    place_count: int
    """Messages with a place, gone ones included until somebody looks for them."""


def _span(mailbox_id: int) -> tuple[int, int]:
    return mailbox_id << UID_BITS, mailbox_id << UID_BITS | _UIDS


def mailbox(connection: sqlite3.Connection, mailbox_id: int) -> MailboxRow | None:
    """One mailbox; None when nothing of it is indexed."""
    row = connection.execute("SELECT * FROM mailbox WHERE mailbox_id = ?", (mailbox_id,)).fetchone()
    return MailboxRow(*row) if row else None


def mailboxes(connection: sqlite3.Connection) -> dict[int, MailboxRow]:
    """All mailboxes that are known, by id."""
    return {values[0]: MailboxRow(*values) for values in connection.execute("SELECT * FROM mailbox")}


def mailboxes_with_gaps(connection: sqlite3.Connection) -> list[int]:
    """Ids of mailboxes with messages that could not be read."""
    return [number for (number,) in connection.execute("SELECT DISTINCT message_key >> 32 FROM gap")]


def save_mailbox(connection: sqlite3.Connection, row: MailboxRow) -> None:
    """Write it back."""
    connection.execute(
        "INSERT OR REPLACE INTO mailbox VALUES (?, ?, ?, ?)",
        (row.mailbox_id, row.uidvalidity, row.next_uid, row.place_count),
    )


def forget_mailbox(connection: sqlite3.Connection, mailbox_id: int) -> None:
    """Its places and gaps; its documents are left to `drop_unused`."""
    for table in ("place", "gap"):
        connection.execute(f"DELETE FROM {table} WHERE message_key BETWEEN ? AND ?", _span(mailbox_id))  # noqa: S608
    connection.execute("DELETE FROM mailbox WHERE mailbox_id = ?", (mailbox_id,))


# building


def documents(connection: sqlite3.Connection, email_ids: Sequence[bytes]) -> dict[bytes, int]:
    """The numbers of those documents that are known."""
    found: dict[bytes, int] = {}
    for start in range(0, len(email_ids), _MARKS):
        part = email_ids[start : start + _MARKS]
        query = f"SELECT email_id, document_id FROM document WHERE email_id IN ({', '.join('?' * len(part))})"  # noqa: S608
        found.update(connection.execute(query, part).fetchall())
    return found


def insert_document(connection: sqlite3.Connection, email_id: bytes, *, cut: bool) -> int:
    """A new document's number."""
    inserted = connection.execute("INSERT INTO document (email_id, cut) VALUES (?, ?)", (email_id, cut))
    return int(inserted.lastrowid or 0)


def insert_texts(connection: sqlite3.Connection, texts: Sequence[tuple[int, str]]) -> None:
    """(row, folded text): row 2n for a header, 2n + 1 for a body."""
    connection.executemany("INSERT INTO trigram (rowid, text) VALUES (?, ?)", texts)


def insert_places(connection: sqlite3.Connection, places: Sequence[tuple[int, int]]) -> None:
    """(message key, document)."""
    connection.executemany("INSERT OR REPLACE INTO place VALUES (?, ?)", places)


def set_gaps(connection: sqlite3.Connection, keys: Iterable[int]) -> None:
    """Messages that could not be read."""
    connection.executemany("INSERT OR IGNORE INTO gap VALUES (?)", [(key,) for key in keys])


def close_gaps(connection: sqlite3.Connection, keys: Iterable[int]) -> None:
    """Messages that are indexed or gone."""
    connection.executemany("DELETE FROM gap WHERE message_key = ?", [(key,) for key in keys])


# removing


def places_after(connection: sqlite3.Connection, mailbox_id: int, uid: int, limit: int) -> list[int]:
    """The next UIDs that have a place, from one on."""
    base, last = _span(mailbox_id)
    query = "SELECT message_key - ? FROM place WHERE message_key BETWEEN ? AND ? ORDER BY message_key LIMIT ?"
    return [found for (found,) in connection.execute(query, (base, base + uid, last, limit))]


def delete_places(connection: sqlite3.Connection, mailbox_id: int, uids: Iterable[int]) -> None:
    """Of messages that are gone."""
    base = mailbox_id << UID_BITS
    connection.executemany("DELETE FROM place WHERE message_key = ?", [(base + uid,) for uid in uids])


def drop_unused(connection: sqlite3.Connection) -> None:
    """Documents that no message has any more."""
    connection.execute("DELETE FROM document WHERE document_id NOT IN (SELECT document_id FROM place)")


def document_counts(connection: sqlite3.Connection) -> tuple[int, int]:
    """(documents in use, documents ever indexed)."""
    used, last = connection.execute(
        "SELECT (SELECT count(*) FROM document), coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'document'), 0)"
    ).fetchone()
    return int(used), int(last)


# asking


def gaps(connection: sqlite3.Connection, mailbox_id: int) -> array[int]:
    """UIDs that could not be read."""
    base, last = _span(mailbox_id)
    query = "SELECT message_key - ? FROM gap WHERE message_key BETWEEN ? AND ? ORDER BY message_key"
    return array("I", [uid for (uid,) in connection.execute(query, (base, base, last))])


def candidates(connection: sqlite3.Connection, mailbox_id: int, match: str, side: int | None) -> array[int]:
    """UIDs, ascending, of messages whose header (side 0), body (1) or either matches, and of all that are cut."""
    base, last = _span(mailbox_id)
    where = "" if side is None else f" AND rowid & 1 = {side:d}"
    query = (
        "SELECT message_key - ? FROM place WHERE message_key BETWEEN ? AND ? AND document_id IN"  # noqa: S608 - a digit
        f" (SELECT rowid >> 1 FROM trigram WHERE trigram MATCH ?{where}"
        " UNION ALL SELECT document_id FROM document WHERE cut <> 0) ORDER BY message_key"
    )
    return array("I", [uid for (uid,) in connection.execute(query, (base, base, last, match))])
