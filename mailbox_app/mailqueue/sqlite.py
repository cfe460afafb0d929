# ruff: noqa: S608 - only constants are put into statements; values are always bound
"""The queue in one SQLite file beside the spool: the backend of a single machine.

Every change is one transaction that is on the disk when the call returns. A lease is a token on the recipient's row, written in
the transaction that chose the row, so two runners never own the same recipient; whoever settles without the token
changes nothing. The token names the process that holds it: leases of a process that died are put back by `recover`
at once, all others when their time is over. Trouble with the disk is a temporary `QueueError` (`queue.busy`, `queue.full`).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mailbox_app.clock import Clock, SystemClock
from mailbox_app.db.sqlite import Database
from mailbox_app.errors import QueueError, StoreError
from mailbox_app.events.hints import QUEUE_TOPIC, Bus
from mailbox_app.ids import QueueId, new_queue_id
from mailbox_app.mailqueue.holders import holder_lives, new_token
from mailbox_app.mailqueue.model import (
    Attempt,
    Envelope,
    Fate,
    Lease,
    NewRecipient,
    Outcome,
    QueuedMessage,
    QueuedRecipient,
    QueueFilter,
    QueueStats,
    RecipientState,
)
from mailbox_app.mailqueue.rows import (
    JOINED,
    MESSAGE,
    RECIPIENT,
    SORTS,
    filter_condition,
    marks,
    read_message,
    read_recipient,
    read_time,
)
from mailbox_app.mailqueue.schedule import LIFETIME
from mailbox_app.mailqueue.schema import MIGRATIONS
from mailbox_app.mailqueue.spool import Spool, SpoolFile

_RECIPIENTS_PER_LEASE = 100
"""What every SMTP server must take in one transaction (RFC 5321 4.5.3.1.8)."""
_TAKEN_AT_ONCE = 10_000
_SORTED_AT_ONCE = 2_000
_LATE_SECONDS = 60.0
_RELEASED_LIFETIME = timedelta(days=1)
_RELEASE = "UPDATE recipient SET state = waits_as, lease_token = '' WHERE "


class SqliteQueue:
    """The backend over `queue.db`; any number of processes may enqueue and run."""

    def __init__(self, path: Path, spool: Spool, bus: Bus, clock: Clock | None = None) -> None:
        self._spool = spool
        self._bus = bus
        self._clock = clock or SystemClock()
        with _translated():
            self._database = Database(path, MIGRATIONS)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def enqueue(
        self,
        envelope: Envelope,
        recipients: Sequence[NewRecipient],
        spool: SpoolFile,
        now: datetime,
        *,
        due_at: datetime | None = None,
    ) -> QueueId:
        """Take over the spool file and make all rows, due at once or at `due_at`; durable on return."""
        queue_id = new_queue_id()
        due = (due_at or now).timestamp()
        expires = ((due_at or now) + LIFETIME).timestamp()
        try:
            with self._transaction() as connection:
                connection.execute(
                    "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (queue_id, envelope.sender, envelope.body, envelope.smtputf8, envelope.ret, envelope.envid,
                     envelope.submitter, envelope.message_id, spool.size_bytes, now.timestamp(), expires,
                     os.path.basename(spool.path), envelope.require_tls),
                )  # fmt: skip
                connection.executemany(
                    "INSERT INTO recipient VALUES (?, ?, ?, ?, 'deferred', 'deferred', 0, ?, 0, ?, '', ?, ?, '', 0)"
                    " ON CONFLICT DO NOTHING",
                    [
                        (queue_id, new.address, new.transport, _destination(new.address), due, new.reason, new.notify,
                         new.orcpt)
                        for new in recipients
                    ],
                )  # fmt: skip
        except QueueError:
            self._spool.discard(spool.path)
            raise
        self._bus.publish(QUEUE_TOPIC)
        return queue_id

    # runners

    def recover(self, now: datetime) -> int:
        """At a runner's start: put back leases of dead processes, remove orphan spool files; how many leases."""
        with self._transaction() as connection:
            dead = [
                (token,)
                for (token,) in connection.execute("SELECT DISTINCT lease_token FROM recipient WHERE state = 'active'")
                if not holder_lives(token)
            ]
            connection.executemany(_RELEASE + "lease_token = ? AND state = 'active'", dead)
        self._spool.sweep(_OwnedSpoolFiles(self._database))
        return len(dead)

    def claim(
        self,
        now: datetime,
        *,
        limit: int,
        lease_seconds: float,
        running: Mapping[str, int] | None = None,
        per_destination: int = 5,
        held: Sequence[str] = (),
    ) -> Sequence[Lease]:
        """Due recipients, grouped by message and destination, oldest first, at most `per_destination` leases each.

        `running` counts the leases a caller already works on; a destination that has its share is passed over. Leases with
        `held` tokens do not run out.
        """
        share = dict(running or {})
        until = now + timedelta(seconds=lease_seconds)
        leases: list[Lease] = []
        with self._transaction() as connection:
            connection.execute(
                _RELEASE + f"state = 'active' AND lease_until <= ? AND lease_token NOT IN ({marks(held)})",
                (now.timestamp(), *held),
            )
            while len(leases) < limit:
                full = [destination for destination, count in share.items() if count >= per_destination]
                first = connection.execute(
                    "SELECT queue_id, transport, destination FROM recipient WHERE state = 'deferred' AND next_at <= ?"
                    f" AND destination NOT IN ({marks(full)}) ORDER BY next_at LIMIT 1",
                    (now.timestamp(), *full),
                ).fetchone()
                if first is None:
                    break
                share[first[2]] = share.get(first[2], 0) + 1
                rows = connection.execute(
                    # the expressions keep the planner from walking all due rows instead of those of one message
                    f"SELECT {RECIPIENT} FROM recipient r WHERE queue_id = ? AND transport = ? AND destination || '' = ?"
                    f" AND state || '' = 'deferred' AND next_at + 0 <= ? LIMIT {_RECIPIENTS_PER_LEASE}",
                    (*first, now.timestamp()),
                ).fetchall()
                leases.append(self._lease(connection, rows, until))
        return leases

    def next_due_at(self) -> datetime | None:
        """When the next deferred recipient is due or a lease runs out; None when nothing waits."""
        with self._reading() as connection:
            times = connection.execute(
                "SELECT MIN(next_at) FROM recipient WHERE state = 'deferred'"
                " UNION ALL SELECT MIN(lease_until) FROM recipient WHERE state = 'active'"
            ).fetchall()
        return min((read_time(time) for (time,) in times if time is not None), default=None)

    def settle(self, lease: Lease, outcomes: Sequence[Outcome], next_at: datetime, now: datetime) -> None:
        """Record one outcome per leased recipient: finished ones leave, deferred ones wait for `next_at`.

        Leased recipients without an outcome go back as they were. `queue.lease_lost` when none is owned any more.
        """
        queue_id = lease.message.queue_id
        spool_name = None
        with self._transaction() as connection:
            owned = {
                address
                for (address,) in connection.execute(
                    "SELECT address FROM recipient WHERE queue_id = ? AND lease_token = ? AND state = 'active'",
                    (queue_id, lease.token),
                )
            }
            if not owned:
                raise QueueError("queue.lease_lost", "another runner has taken over these recipients")
            settled = [outcome for outcome in outcomes if outcome.address in owned]
            connection.executemany(
                "INSERT INTO attempt (queue_id, at, address, fate, code, text, host, tls, duration_seconds)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (queue_id, now.timestamp(), done.address, done.fate.value, done.code, done.text, done.host, done.tls,
                     done.duration_seconds)
                    for done in settled
                ],
            )  # fmt: skip
            connection.executemany(
                "UPDATE recipient SET state = waits_as, lease_token = '', attempts = attempts + 1, next_at = ?,"
                " last_code = ?, last_text = ?, last_host = ? WHERE queue_id = ? AND address = ?",
                [
                    (next_at.timestamp(), done.code, done.text, done.host, queue_id, done.address)
                    for done in settled
                    if done.fate is Fate.DEFERRED
                ],
            )
            connection.executemany(
                "DELETE FROM recipient WHERE queue_id = ? AND address = ?",
                [(queue_id, done.address) for done in settled if done.fate is not Fate.DEFERRED],
            )
            connection.execute(_RELEASE + "queue_id = ? AND lease_token = ?", (queue_id, lease.token))
            spool_name = _forget_when_empty(connection, queue_id)
        if (
            spool_name is not None
        ):  # after the commit: a crash in between leaves an orphan, never a row without its file
            self._spool.discard(os.path.join(self._spool.directory, spool_name))

    def release(self, lease: Lease) -> None:
        """Put leased recipients back as they were (shutdown)."""
        with self._transaction() as connection:
            connection.execute(
                _RELEASE + "queue_id = ? AND lease_token = ? AND state = 'active'",
                (lease.message.queue_id, lease.token),
            )

    # operators

    def message(self, queue_id: QueueId) -> QueuedMessage:
        """With all waiting recipients; `queue.no_such_id`."""
        with self._reading() as connection:
            row = connection.execute(f"SELECT {MESSAGE} FROM message m WHERE queue_id = ?", (queue_id,)).fetchone()
            if row is None:
                raise _no_such_id()
            recipients = connection.execute(
                f"SELECT {RECIPIENT} FROM recipient r WHERE queue_id = ? ORDER BY address", (queue_id,)
            ).fetchall()
        return read_message(row, [read_recipient(recipient) for recipient in recipients])

    def attempts(self, queue_id: QueueId) -> Sequence[Attempt]:
        """The history, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT at, address, fate, code, text, host, tls, duration_seconds FROM attempt"
                " WHERE queue_id = ? ORDER BY number",
                (queue_id,),
            ).fetchall()
        return [Attempt(read_time(at), address, Fate(fate), *rest) for at, address, fate, *rest in rows]

    def header(self, queue_id: QueueId, limit_bytes: int = 65536) -> bytes:
        """The spool's header block with its empty line, at most `limit_bytes`."""
        with self._reading() as connection:
            row = connection.execute("SELECT spool_name FROM message WHERE queue_id = ?", (queue_id,)).fetchone()
        if row is None:
            raise _no_such_id()
        try:
            with open(self._spool.directory / row[0], "rb") as file:
                block = file.read(limit_bytes)
        except OSError as error:
            raise QueueError("queue.unreadable", "the message's file cannot be read", temporary=True) from error
        end = block.find(b"\r\n\r\n")
        return block if end < 0 else block[: end + 4]

    def window(
        self, where: QueueFilter, sort: str, reverse: bool, offset: int, limit: int
    ) -> tuple[int, Sequence[QueuedRecipient], Sequence[QueuedMessage]]:
        """(total, rows, their messages without recipients); sort: next, age, size, sender, recipient, attempts."""
        if sort not in SORTS:
            raise QueueError("queue.no_such_sort", f"the queue cannot be sorted by that; one of {', '.join(SORTS)}")
        condition, values = filter_condition(where, self._clock.now())
        with self._reading() as connection:
            table = JOINED if "m." in condition else "recipient r"
            (total,) = connection.execute(f"SELECT COUNT(*) FROM {table} WHERE {condition}", values).fetchone()
            # Few matches are sorted: finding them in an index's order would fetch every row of the queue at random.
            order = SORTS[sort] if total > _SORTED_AT_ONCE else f"+{SORTS[sort]}"
            rows = connection.execute(
                f"SELECT {RECIPIENT}, {MESSAGE} FROM {JOINED} WHERE {condition}"
                f" ORDER BY {order} {'DESC' if reverse else 'ASC'} LIMIT ? OFFSET ?",
                (*values, limit, offset),
            ).fetchall()
        split = len(RECIPIENT.split(","))
        messages = {row[0]: read_message(row[split:], ()) for row in rows}
        return total, [read_recipient(row[:split]) for row in rows], list(messages.values())

    def matching(self, where: QueueFilter, limit: int) -> Sequence[tuple[QueueId, str, RecipientState]]:
        """(id, address, state) of the recipients meant, in order of id and address; at most `limit`."""
        condition, values = filter_condition(where, self._clock.now())
        states = {state.value: state for state in RecipientState}
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT r.queue_id, r.address, r.state FROM {JOINED if 'm.' in condition else 'recipient r'}"
                f" WHERE {condition} ORDER BY r.queue_id, r.address LIMIT ?",
                (*values, limit),
            )
            return [(queue_id, address, states[state]) for queue_id, address, state in rows]

    def stats(self, now: datetime) -> QueueStats:
        """Counts, the oldest and the ten destinations with most recipients."""
        with self._reading() as connection:
            connection.execute("BEGIN")
            states = dict(connection.execute("SELECT state, COUNT(*) FROM recipient GROUP BY state").fetchall())
            late, messages, oldest = connection.execute(
                "SELECT (SELECT COUNT(*) FROM recipient WHERE state = 'deferred' AND next_at < ?),"
                " (SELECT COUNT(*) FROM message), (SELECT MIN(arrived_at) FROM message)",
                (now.timestamp() - _LATE_SECONDS,),
            ).fetchone()
            destinations = connection.execute(
                "SELECT destination, COUNT(*) FROM recipient GROUP BY destination ORDER BY 2 DESC, 1 LIMIT 10"
            ).fetchall()
        return QueueStats(
            recipients=sum(states.values()),
            messages=messages,
            deferred=states.get("deferred", 0),
            active=states.get("active", 0),
            held=states.get("held", 0),
            late=late,
            oldest_at=None if oldest is None else read_time(oldest),
            by_destination=tuple(destinations),
        )

    def retry(self, where: QueueFilter, now: datetime) -> int:
        """Make matching deferred recipients due now."""
        return self._change("next_at = ?", (now.timestamp(),), "r.state || '' = 'deferred'", where)

    def hold(self, where: QueueFilter) -> int:
        """Matching recipients wait for an operator; one that is being delivered does so if this attempt defers it."""
        change = "waits_as = 'held', state = CASE state WHEN 'active' THEN 'active' ELSE 'held' END"
        return self._change(change, (), "r.waits_as <> 'held'", where)

    def unhold(self, where: QueueFilter, now: datetime) -> int:
        """Held recipients become due now; their message lives a day more when its time is over."""
        change = (
            "waits_as = 'deferred', state = CASE state WHEN 'active' THEN 'active' ELSE 'deferred' END, next_at = ?"
        )
        extended = (now + _RELEASED_LIFETIME).timestamp()
        condition, values = filter_condition(where, now)
        with self._transaction() as connection:
            connection.execute(
                "UPDATE message SET expires_at = ? WHERE expires_at < ? AND queue_id IN"
                f" (SELECT r.queue_id FROM {JOINED} WHERE r.waits_as = 'held' AND {condition})",
                (extended, extended, *values),
            )
        return self._change(change, (now.timestamp(),), "r.waits_as = 'held'", where)

    def take(self, where: QueueFilter, now: datetime, lease_seconds: float) -> Sequence[Lease]:
        """Lease matching recipients (not active ones) whatever their time, at most 10,000: repeat until none is left."""
        condition, values = filter_condition(where, now)
        until = now + timedelta(seconds=lease_seconds)
        groups: dict[tuple[object, ...], list[Sequence[Any]]] = {}
        with self._transaction() as connection:
            for row in connection.execute(
                f"SELECT {RECIPIENT} FROM {JOINED} WHERE r.state <> 'active' AND {condition}"
                f" ORDER BY r.queue_id LIMIT {_TAKEN_AT_ONCE}",
                values,
            ):
                groups.setdefault((row[0], row[2], row[3]), []).append(row)
            return [self._lease(connection, rows, until) for rows in groups.values()]

    def _change(self, change: str, new: tuple[object, ...], state: str, where: QueueFilter) -> int:
        condition, values = filter_condition(where, self._clock.now())
        with self._transaction() as connection:
            found = connection.execute(
                f"SELECT r.queue_id, r.address FROM {JOINED} WHERE {state} AND {condition}", values
            ).fetchall()
            connection.executemany(
                f"UPDATE recipient SET {change} WHERE queue_id = ? AND address = ?", [(*new, *key) for key in found]
            )
        if found:
            self._bus.publish(QUEUE_TOPIC)
        return len(found)

    def _lease(self, connection: sqlite3.Connection, rows: Sequence[Sequence[Any]], until: datetime) -> Lease:
        token = new_token()
        connection.executemany(
            "UPDATE recipient SET state = 'active', lease_token = ?, lease_until = ? WHERE queue_id = ? AND address = ?",
            [(token, until.timestamp(), row[0], row[1]) for row in rows],
        )
        message = connection.execute(f"SELECT {MESSAGE} FROM message m WHERE queue_id = ?", (rows[0][0],)).fetchone()
        recipients = [replace(read_recipient(row), state=RecipientState.ACTIVE) for row in rows]
        return Lease(token, read_message(message, recipients), str(self._spool.directory / message[-1]), until)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _translated(), self._database.transaction() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with _translated(), self._database.reading() as connection:
            yield connection


class _OwnedSpoolFiles:
    """The spool files that have a message, asked one at a time: memory does not grow with the queue."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __contains__(self, path: object) -> bool:
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT 1 FROM message WHERE spool_name = ?", (os.path.basename(str(path)),)
            ).fetchone()
        return row is not None


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        code = error.code.replace("store.", "queue.", 1)
        raise QueueError(code, error.public_text, temporary=error.temporary, fields=error.fields) from error


def _forget_when_empty(connection: sqlite3.Connection, queue_id: QueueId) -> str | None:
    """Remove a message whose last recipient has left; the spool file that nobody needs now."""
    if connection.execute("SELECT 1 FROM recipient WHERE queue_id = ? LIMIT 1", (queue_id,)).fetchone():
        return None
    connection.execute("DELETE FROM attempt WHERE queue_id = ?", (queue_id,))
    row = connection.execute("DELETE FROM message WHERE queue_id = ? RETURNING spool_name", (queue_id,)).fetchone()
    return None if row is None else str(row[0])


def _destination(address: str) -> str:
    return address.rpartition("@")[2].lower()


def _no_such_id() -> QueueError:
    return QueueError("queue.no_such_id", "the queue holds no message with this id")
