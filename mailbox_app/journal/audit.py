"""The audit chain: one durable entry for each change, each sealed with the hash of all before it.

`hash(n) = SHA-256(hash(n - 1) + canonical JSON of entry n)`. A changed, removed or inserted entry breaks every hash after it; the
count and hash of the newest entry are stored apart, so a cut-off tail is found too. Appending raises (temporary
`store.full`, `store.busy`) rather than lose an entry. Synchronous: call through `db.offload`.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime

import msgspec

from mailbox_app.clock import Clock
from mailbox_app.db.sqlite import Database
from mailbox_app.journal import tables

_START = bytes(32)
_VERIFY_BATCH = 1000
_MAX_TEXT = 20_000
"""Characters of one field kept: an entry says what changed, it is no copy of a mailbox."""


@dataclass(frozen=True, slots=True)
class Change:
    """What an entry says. `before` and `after` are JSON texts or empty; `result` is `ok` or the error's code and text."""

    who: str
    uid: int
    via: str
    what: str
    object: str = ""
    detail: str = ""
    before: str = ""
    after: str = ""
    result: str = "ok"


@dataclass(frozen=True, slots=True)
class Entry:
    """A change with its number in the chain and its time."""

    no: int
    at: datetime
    change: Change


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are meant; all given conditions hold. `what` also matches as a prefix: `user` means `user.*`."""

    who: str = ""
    what: str = ""
    since_at: datetime | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Verification:
    """`broken_at` is the number of the first entry that is not what was written; None when all are."""

    count: int
    broken_at: int | None


class Audit:
    """The chain in `journal.db`. Any process may append: the head is read in the same transaction."""

    def __init__(self, path: str | os.PathLike[str], clock: Clock) -> None:
        self._clock = clock
        self._database = Database(path, tables.MIGRATIONS)
        self._verified_to = 0

    @property
    def verified_to(self) -> int:
        """The entry up to which this process has verified the chain last."""
        return self._verified_to

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def append(self, change: Change) -> int:
        """Durable on return; the entry's number."""
        at_seconds = int(self._clock.epoch_seconds())
        fields = [field[:_MAX_TEXT] if isinstance(field, str) else field for field in astuple(change)]
        with self._database.transaction() as connection:
            count, head = _head(connection)
            number = count + 1
            row = (number, at_seconds, *fields)
            seal = _seal(head, row)
            connection.execute(tables.AUDIT_INSERT, (*row, seal))
            connection.execute(tables.AUDIT_SET_HEAD, (number, seal))
        return number

    def head(self) -> int:
        """The number of the newest entry; 0 for none."""
        with self._database.reading() as connection:
            return _head(connection)[0]

    def list(self, where: AuditFilter, offset: int, limit: int) -> tuple[int, Sequence[Entry]]:
        """(how many match, one page of them), newest first."""
        like = where.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        what = where.what.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        values = {
            "who": where.who,
            "what": where.what,
            "what_prefix": f"{what}.%",
            "since": 0 if where.since_at is None else int(where.since_at.timestamp()),
            "text": where.text,
            "like": f"%{like}%",
            "limit": limit,
            "offset": offset,
        }
        with self._database.reading() as connection:
            total = connection.execute(tables.AUDIT_COUNT, values).fetchone()[0]
            return total, [_entry(row) for row in connection.execute(tables.AUDIT_PAGE, values)]

    def entry(self, number: int) -> Entry | None:
        """One entry."""
        with self._database.reading() as connection:
            row = connection.execute(tables.AUDIT_ONE, (number,)).fetchone()
        return None if row is None else _entry(row)

    def verify(self) -> Verification:
        """Walk the whole chain; about 5 us an entry."""
        with self._database.reading() as connection:
            connection.execute("BEGIN")  # one view: entries appended meanwhile are not half seen
            count, head = _head(connection)
            broken_at = _first_broken(connection, count, head)
            connection.execute("COMMIT")
        self._verified_to = count if broken_at is None else broken_at - 1
        return Verification(count, broken_at)


def _first_broken(connection: sqlite3.Connection, count: int, head: bytes) -> int | None:
    seal, number = _START, 0
    cursor = connection.execute(tables.AUDIT_ALL)
    while rows := cursor.fetchmany(_VERIFY_BATCH):
        for row in rows:
            number += 1
            seal = _seal(seal, row[:-1])
            if row[0] != number or bytes(row[-1]) != seal:
                return number
    if number != count:
        return min(number, count) + 1  # entries cut off at the end, or appended without us
    return None if seal == head else number


def _head(connection: sqlite3.Connection) -> tuple[int, bytes]:
    row = connection.execute(tables.AUDIT_HEAD).fetchone()
    return (0, _START) if row is None else (int(row[0]), bytes(row[1]))


def _seal(previous: bytes, row: Sequence[object]) -> bytes:
    return hashlib.sha256(previous + msgspec.json.encode(row)).digest()


def _entry(row: Sequence[object]) -> Entry:
    no, at_seconds, who, uid, via, what, thing, detail, before, after, result = row
    if not isinstance(no, int) or not isinstance(at_seconds, int) or not isinstance(uid, int):
        raise TypeError(row)
    change = Change(str(who), uid, str(via), str(what), str(thing), str(detail), str(before), str(after), str(result))
    return Entry(no, datetime.fromtimestamp(at_seconds, UTC), change)
