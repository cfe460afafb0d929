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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mailbox_app.clock import Clock
from mailbox_app.db.sqlite import Database
from mailbox_app.db.together import Together
from mailbox_app.errors import QueueError
from mailbox_app.events.hints import QUEUE_TOPIC, Bus
from mailbox_app.ids import QueueId, new_queue_id
from mailbox_app.mailqueue.hold_rules import held_from_start
from mailbox_app.mailqueue.holders import holder_lives, new_token
from mailbox_app.mailqueue.model import (
    WAITING,
    Envelope,
    Fate,
    HoldRule,
    Lease,
    NewRecipient,
    Outcome,
    Priority,
    QueuedMessage,
    QueueFilter,
    RecipientState,
    Settlement,
    read_time,
)
from mailbox_app.mailqueue.schedule import LIFETIME
from mailbox_app.mailqueue.spool import Spool, SpoolFile
from mailbox_app.mailqueue.sqlite.operators import SqliteOperators
from mailbox_app.mailqueue.sqlite.postponing import SqlitePostponing
from mailbox_app.mailqueue.sqlite.rows import (
    FINISHED,
    JOINED,
    MESSAGE,
    RECIPIENT,
    filter_condition,
    marks,
    read_message,
    read_pauses,
    read_recipient,
    read_rules,
)

_RECIPIENTS_PER_LEASE = 100
"""What every SMTP server must take in one transaction (RFC 5321 4.5.3.1.8)."""
_TAKEN_AT_ONCE = 10_000
_AGE_EVERY = 4
"""One lease in so many goes to what is due for the longest time, so that urgent mail never stops all other."""
_Head = tuple[str, str, str]
_RELEASE = "UPDATE recipient SET state = waits_as, lease_token = '' WHERE "


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A message on its way into the queue."""

    queue_id: QueueId
    envelope: Envelope
    recipients: Sequence[NewRecipient]
    spool: SpoolFile
    now: datetime
    due_at: datetime


class SqliteQueue(SqliteOperators, SqlitePostponing):
    """The backend over `queue.db`; any number of processes may enqueue and run."""

    def __init__(self, path: Path, spool: Spool, bus: Bus, clock: Clock | None = None) -> None:
        super().__init__(path, spool, bus, clock)
        self._arrivals = Together[_Arrival, None](self._take_in)
        self._turn = 0
        """Leases handed out so far, for the share of what has waited longest."""

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
        arrival = _Arrival(new_queue_id(), envelope, recipients, spool, now, due_at or now)
        try:
            self._arrivals.submit(arrival)
        except QueueError:
            self._spool.discard(spool.path)
            raise
        self._bus.publish(QUEUE_TOPIC)
        return arrival.queue_id

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
        if not self._has_work(now):
            return ()
        # not flushed: a power cut takes the lease along with whoever held it, and the mail is due again
        with self._transaction(durable=False) as connection:
            if connection.execute(
                "SELECT 1 FROM recipient WHERE state = 'active' AND lease_until <= ? LIMIT 1", (now.timestamp(),)
            ).fetchone():
                connection.execute(
                    _RELEASE + f"state = 'active' AND lease_until <= ? AND lease_token NOT IN ({marks(held)})",
                    (now.timestamp(), *held),
                )
            paused = [each.destination for each in read_pauses(connection)]
            if "" in paused:
                return ()
            while len(leases) < limit:
                full = [destination for destination, count in share.items() if count >= per_destination] + paused
                heads = self._heads(connection, now, full, limit - len(leases))
                if not heads:
                    break
                for head in heads:
                    if len(leases) < limit and share.get(head[2], 0) < per_destination:
                        lease = self._claimed(connection, head, now, until)
                        if lease is not None:
                            leases.append(lease)
                            share[head[2]] = share.get(head[2], 0) + 1
        return leases

    def _heads(self, connection: sqlite3.Connection, now: datetime, full: Sequence[str], limit: int) -> Sequence[_Head]:
        """(message, transport, destination) of what goes next: the urgent, and every fourth time the longest due."""
        select = "SELECT queue_id, transport, destination FROM recipient WHERE state = 'deferred' AND next_at <= ?"
        rest = f" AND destination NOT IN ({marks(full)}) ORDER BY next_at LIMIT ?"
        urgent: list[_Head] = []
        for priority in Priority:  # one by one, or all that is due would be sorted each time
            if (room := limit - len(urgent)) > 0:
                values = (now.timestamp(), int(priority), *full, room)
                urgent += connection.execute(f"{select} AND priority = ?{rest}", values).fetchall()
        oldest: list[_Head] = []
        if not urgent or self._turn % _AGE_EVERY + limit >= _AGE_EVERY:
            oldest = connection.execute(select + rest, (now.timestamp(), *full, limit)).fetchall()
        heads: dict[_Head, None] = {}
        by_age, by_urgency = iter(oldest), iter(urgent)
        while len(heads) < limit:
            self._turn += 1
            head = next(by_age if self._turn % _AGE_EVERY == 0 else by_urgency, None)
            if head is None:
                break
            heads[head] = None
        heads.update(dict.fromkeys(urgent or oldest))
        return list(heads)

    def _claimed(self, connection: sqlite3.Connection, head: _Head, now: datetime, until: datetime) -> Lease | None:
        """A lease of what is due of one message to one destination; None when nothing is, or when it cannot be read."""
        rows = connection.execute(
            # the expressions keep the planner from walking all due rows instead of those of one message
            f"SELECT {RECIPIENT} FROM recipient r WHERE queue_id = ? AND transport = ? AND destination || '' = ?"
            f" AND state || '' = 'deferred' AND next_at + 0 <= ? LIMIT {_RECIPIENTS_PER_LEASE}",
            (*head, now.timestamp()),
        ).fetchall()
        if not rows:
            return None
        try:
            return self._lease(connection, rows, until)
        except (ValueError, TypeError, OverflowError):  # one row of a damaged file must not stop all others
            connection.execute(
                "UPDATE recipient SET state = 'quarantined', waits_as = 'quarantined', lease_token = '',"
                " hold_reason = 'what the queue knows about this message cannot be read' WHERE queue_id = ?",
                head[:1],
            )
            return None

    def _take_in(self, arrivals: Sequence[_Arrival]) -> Sequence[Exception | None]:
        """Messages that came at the same moment, in one transaction; one that cannot be stored at all spoils no other."""
        try:
            with self._transaction() as connection:
                rules = read_rules(connection)
                for arrival in arrivals:
                    _insert(connection, rules, arrival)
        except Exception as error:
            if len(arrivals) == 1 or isinstance(error, QueueError):
                raise
            return [self._take_in_alone(arrival) for arrival in arrivals]
        return [None] * len(arrivals)

    def _take_in_alone(self, arrival: _Arrival) -> Exception | None:
        try:
            self._take_in([arrival])
        except Exception as error:  # noqa: BLE001 - raised again in the thread that brought it
            return error
        return None

    def _has_work(self, now: datetime) -> bool:
        """Whether a claim could find something: costs no lock, which those who enqueue want at the same time."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT EXISTS (SELECT 1 FROM recipient WHERE state = 'deferred' AND next_at <= ?1)"
                " OR EXISTS (SELECT 1 FROM recipient WHERE state = 'active' AND lease_until <= ?1)",
                (now.timestamp(),),
            ).fetchone()
        return bool(row[0])

    def next_due_at(self) -> datetime | None:
        """When the next deferred recipient is due or a lease runs out; None when nothing waits."""
        with self._reading() as connection:
            times = connection.execute(
                "SELECT MIN(next_at) FROM recipient WHERE state = 'deferred'"
                " UNION ALL SELECT MIN(lease_until) FROM recipient WHERE state = 'active'"
            ).fetchall()
        return min((read_time(time) for (time,) in times if time is not None), default=None)

    def settle(self, settlements: Sequence[Settlement], now: datetime) -> Sequence[Lease]:
        """Record one outcome per leased recipient, for all settlements in one durable step; the leases already lost."""
        lost: list[Lease] = []
        gone: list[str] = []
        with self._transaction() as connection:
            for settlement in settlements:
                if not self._settle(connection, settlement, now):
                    lost.append(settlement.lease)
                elif (name := _forget_when_empty(connection, settlement.lease.message.queue_id)) is not None:
                    gone.append(name)
        for name in gone:  # after the commit: a crash in between leaves an orphan, never a row without its file
            self._spool.discard(os.path.join(self._spool.directory, name))
        return lost

    def _settle(self, connection: sqlite3.Connection, settlement: Settlement, now: datetime) -> bool:
        """Within the transaction; False when nobody owned the lease any more."""
        lease, message = settlement.lease, settlement.lease.message
        queue_id = message.queue_id
        owned: dict[str, int] = dict(
            connection.execute(
                "SELECT address, attempts FROM recipient WHERE queue_id = ? AND lease_token = ? AND state = 'active'",
                (queue_id, lease.token),
            ).fetchall()
        )
        if not owned:
            return False
        settled = [outcome for outcome in settlement.outcomes if outcome.address in owned]
        connection.executemany(
            "INSERT INTO attempt (queue_id, at, address, fate, code, text, host, tls, duration_seconds)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (queue_id, now.timestamp(), done.address, done.fate.value, done.code, done.text, done.host, done.tls,
                 done.duration_seconds)
                for done in settled
                if done.fate is not Fate.POSTPONED
            ],
        )  # fmt: skip
        if waiting := [done for done in settled if done.fate in WAITING]:
            _note_waiting(connection, settlement, waiting)
        if settlement.delay_told:
            connection.executemany(
                "UPDATE recipient SET delay_told = 1 WHERE queue_id = ? AND address = ?",
                [(queue_id, address) for address in settlement.delay_told],
            )
        if finished := [done for done in settled if done.fate not in WAITING]:
            _note_finished(connection, message, finished, owned, now)
        if len(finished) < len(owned):
            connection.execute(_RELEASE + "queue_id = ? AND lease_token = ?", (queue_id, lease.token))
        return True

    def release(self, lease: Lease) -> None:
        """Put leased recipients back as they were (shutdown)."""
        with self._transaction(durable=False) as connection:
            connection.execute(
                _RELEASE + "queue_id = ? AND lease_token = ? AND state = 'active'",
                (lease.message.queue_id, lease.token),
            )

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

    def _lease(self, connection: sqlite3.Connection, rows: Sequence[Sequence[Any]], until: datetime) -> Lease:
        token = new_token()
        connection.executemany(
            "UPDATE recipient SET state = 'active', lease_token = ?, lease_until = ? WHERE queue_id = ? AND address = ?",
            [(token, until.timestamp(), row[0], row[1]) for row in rows],
        )
        message = connection.execute(f"SELECT {MESSAGE} FROM message m WHERE queue_id = ?", (rows[0][0],)).fetchone()
        recipients = [replace(read_recipient(row), state=RecipientState.ACTIVE) for row in rows]
        return Lease(token, read_message(message, recipients), str(self._spool.directory / message[-1]), until)


def _insert(connection: sqlite3.Connection, rules: Sequence[HoldRule], arrival: _Arrival) -> None:
    """All rows of one message."""
    queue_id, envelope, spool = arrival.queue_id, arrival.envelope, arrival.spool
    due, priority = arrival.due_at.timestamp(), int(envelope.priority)
    connection.execute(
        "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (queue_id, envelope.sender, envelope.body, envelope.smtputf8, envelope.ret, envelope.envid,
         envelope.submitter, envelope.message_id, spool.size_bytes, arrival.now.timestamp(),
         (arrival.due_at + LIFETIME).timestamp(), os.path.basename(spool.path), envelope.require_tls,
         envelope.tls_optional, priority, envelope.release_request),
    )  # fmt: skip
    connection.executemany(
        "INSERT INTO recipient (queue_id, address, transport, destination, state, waits_as, attempts, next_at,"
        " last_code, last_text, last_host, notify, orcpt, lease_token, lease_until, priority, hold_reason)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?5, 0, ?6, 0, ?7, '', ?8, ?9, '', 0, ?10, ?11) ON CONFLICT DO NOTHING",
        [
            (queue_id, new.address, new.transport, _destination(new.address), _state(held), due, new.reason,
             new.notify, new.orcpt, priority, held)
            for new, held in held_from_start(rules, envelope, arrival.recipients)
        ],
    )  # fmt: skip


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


def _note_waiting(connection: sqlite3.Connection, settlement: Settlement, waiting: Sequence[Outcome]) -> None:
    """They go back with what came of this turn."""
    queue_id = settlement.lease.message.queue_id
    connection.executemany(
        "UPDATE recipient SET state = waits_as, lease_token = '', attempts = attempts + ?, next_at = ?,"
        " last_code = ?, last_enhanced = ?, last_text = ?, last_host = ?,"
        " hold_reason = CASE waits_as WHEN 'deferred' THEN '' ELSE hold_reason END WHERE queue_id = ? AND address = ?",
        [
            (int(done.fate is Fate.DEFERRED), (done.retry_at or settlement.next_at).timestamp(), done.code,
             done.enhanced, done.text, done.host, queue_id, done.address)
            for done in waiting
            if done.fate is not Fate.POSTPONED
        ],
    )  # fmt: skip
    connection.executemany(  # what answered last stays known
        "UPDATE recipient SET state = waits_as, lease_token = '', next_at = ?,"
        " hold_reason = CASE waits_as WHEN 'deferred' THEN ? ELSE hold_reason END WHERE queue_id = ? AND address = ?",
        [
            ((done.retry_at or settlement.next_at).timestamp(), done.text, queue_id, done.address)
            for done in waiting
            if done.fate is Fate.POSTPONED
        ],
    )
    connection.executemany(
        "UPDATE recipient SET state = 'quarantined', waits_as = 'quarantined', hold_reason = last_text"
        " WHERE queue_id = ? AND address = ?",
        [(queue_id, done.address) for done in waiting if done.fate is Fate.QUARANTINED],
    )


def _note_finished(
    connection: sqlite3.Connection,
    message: QueuedMessage,
    finished: Sequence[Outcome],
    owned: Mapping[str, int],
    now: datetime,
) -> None:
    """They leave for the history; `owned` has the tries before this one."""
    queue_id = message.queue_id
    envelope, arrived = message.envelope, message.arrived_at.timestamp()
    connection.executemany(
        f"INSERT INTO finished ({FINISHED}) VALUES ({marks(FINISHED.split(','))})",
        [
            (queue_id, done.address, envelope.sender, envelope.submitter, envelope.message_id, message.size_bytes,
             arrived, now.timestamp(), done.fate.value, done.code, done.enhanced, done.text, done.host, done.tls,
             owned[done.address] + 1)
            for done in finished
        ],
    )  # fmt: skip
    connection.executemany(
        "DELETE FROM recipient WHERE queue_id = ? AND address = ?", [(queue_id, done.address) for done in finished]
    )


def _forget_when_empty(connection: sqlite3.Connection, queue_id: QueueId) -> str | None:
    """Remove a message whose last recipient has left; the spool file that nobody needs now."""
    if connection.execute("SELECT 1 FROM recipient WHERE queue_id = ? LIMIT 1", (queue_id,)).fetchone():
        return None
    row = connection.execute("DELETE FROM message WHERE queue_id = ? RETURNING spool_name", (queue_id,)).fetchone()
    return None if row is None else str(row[0])


def _destination(address: str) -> str:
    return address.rpartition("@")[2].lower()


def _state(held: str) -> str:
    return "held" if held else "deferred"
