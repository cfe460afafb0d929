# ruff: noqa: S608 - only constants are put into statements; values are always bound
"""What operators ask of the queue's database: look at it, change what waits, hold rules, the history."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from mailbox_app.errors import QueueError
from mailbox_app.events.hints import QUEUE_TOPIC
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.hold_rules import MAX_PAUSES, MAX_RULES
from mailbox_app.mailqueue.interface import no_such_id
from mailbox_app.mailqueue.model import (
    Attempt,
    Fate,
    Finished,
    HoldRule,
    Pause,
    QueuedMessage,
    QueuedRecipient,
    QueueFilter,
    QueueStats,
    RecipientState,
    read_time,
)
from mailbox_app.mailqueue.sqlite.access import SqliteAccess
from mailbox_app.mailqueue.sqlite.rows import (
    FINISHED,
    JOINED,
    MESSAGE,
    RECIPIENT,
    SORTS,
    filter_condition,
    finished_condition,
    marks,
    read_finished,
    read_message,
    read_pauses,
    read_recipient,
    read_rule,
    read_rules,
)

_SORTED_AT_ONCE = 2_000
_LATE_SECONDS = 60.0
_RELEASED_LIFETIME = timedelta(days=1)


class SqliteOperators(SqliteAccess):
    """The operators' half of `SqliteQueue`."""

    def message(self, queue_id: QueueId) -> QueuedMessage:
        """With all waiting recipients; `queue.no_such_id`."""
        with self._reading() as connection:
            row = connection.execute(f"SELECT {MESSAGE} FROM message m WHERE queue_id = ?", (queue_id,)).fetchone()
            if row is None:
                raise no_such_id()
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
        block = self.content(queue_id, 0, limit_bytes)
        end = block.find(b"\r\n\r\n")
        return block if end < 0 else block[: end + 4]

    def content(self, queue_id: QueueId, offset: int, limit_bytes: int) -> bytes:
        """A piece of the message as it is stored; temporary `queue.unreadable`."""
        with self._reading() as connection:
            row = connection.execute("SELECT spool_name FROM message WHERE queue_id = ?", (queue_id,)).fetchone()
        if row is None:
            raise no_such_id()
        try:
            with open(self._spool.directory / row[0], "rb") as file:
                file.seek(offset)
                return file.read(limit_bytes)
        except OSError as error:
            raise QueueError("queue.unreadable", "the message's file cannot be read", temporary=True) from error

    def window(
        self, where: QueueFilter, sort: str, reverse: bool, offset: int, limit: int
    ) -> tuple[int, Sequence[QueuedRecipient], Sequence[QueuedMessage]]:
        """(total, rows, their messages without recipients); sort: next, age, size, sender, recipient, attempts."""
        if sort not in SORTS:
            raise QueueError("queue.no_such_sort", f"the queue cannot be sorted by that; one of {', '.join(SORTS)}")
        condition, values = filter_condition(where, self._clock.now())
        with self._reading() as connection:
            table = JOINED if "m." in condition else "recipient r"
            if where.text:  # looked for in every row, and that once
                found = connection.execute(
                    f"SELECT r.queue_id FROM {table} WHERE {condition} LIMIT ?", (*values, _SORTED_AT_ONCE + 1)
                ).fetchall()
                if len(found) <= _SORTED_AT_ONCE:
                    condition += f" AND r.queue_id IN ({marks(found)})"
                    values.extend(queue_id for (queue_id,) in found)
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
            quarantined=states.get("quarantined", 0),
        )

    def retry(self, where: QueueFilter, now: datetime) -> int:
        """Make matching deferred recipients due now."""
        return self._change("next_at = ?", (now.timestamp(),), "r.state || '' = 'deferred'", where)

    def hold(self, where: QueueFilter, reason: str = "") -> int:
        """Matching recipients wait for an operator; one that is being delivered does so if this attempt defers it."""
        change = "waits_as = 'held', hold_reason = ?, state = CASE state WHEN 'active' THEN 'active' ELSE 'held' END"
        return self._change(change, (reason,), "r.waits_as = 'deferred'", where)

    def reroute(self, where: QueueFilter, route: str, now: datetime) -> int:
        """Matching recipients go by this route from their next try on; those that wait for their time, now."""
        change = "route = ?, next_at = CASE waits_as WHEN 'deferred' THEN ? ELSE next_at END"
        return self._change(change, (route, now.timestamp()), "1 = 1", where)

    def unhold(self, where: QueueFilter, now: datetime) -> int:
        """Held and quarantined recipients become due now, held ones that were never tried not before their time.

        Their message lives a day more when its time is over.
        """
        change = (
            "waits_as = 'deferred', hold_reason = '',"
            " state = CASE state WHEN 'active' THEN 'active' ELSE 'deferred' END,"
            " next_at = max(?, CASE WHEN attempts = 0 AND waits_as = 'held' THEN next_at ELSE 0 END)"
        )
        extended = (now + _RELEASED_LIFETIME).timestamp()
        condition, values = filter_condition(where, now)
        with self._transaction() as connection:
            connection.execute(
                "UPDATE message SET expires_at = ? WHERE expires_at < ? AND queue_id IN"
                f" (SELECT r.queue_id FROM {JOINED} WHERE r.waits_as <> 'deferred' AND {condition})",
                (extended, extended, *values),
            )
        return self._change(change, (now.timestamp(),), "r.waits_as <> 'deferred'", where)

    def problems(self) -> Sequence[str]:
        """None: what is committed is on the disk."""
        return ()

    # rules and history

    def rules(self) -> Sequence[HoldRule]:
        """What is held from the start, oldest rule first."""
        with self._reading() as connection:
            return read_rules(connection)

    def add_rule(self, rule: HoldRule) -> HoldRule:
        """Holds for mail that comes from now on; `queue.too_many_rules`."""
        made_at = rule.made_at or self._clock.now()
        values = (rule.sender.lower(), rule.recipient.lower(), rule.submitter.lower(), rule.reason, made_at.timestamp())
        with self._transaction() as connection:
            (count,) = connection.execute("SELECT COUNT(*) FROM hold_rule").fetchone()
            if count >= MAX_RULES:
                raise QueueError("queue.too_many_rules", f"there are {MAX_RULES} hold rules, remove some first")
            cursor = connection.execute(
                "INSERT INTO hold_rule (sender, recipient, submitter, reason, made_at) VALUES (?, ?, ?, ?, ?)", values
            )
        return HoldRule(cursor.lastrowid or 0, *values[:4], made_at)

    def remove_rule(self, number: int) -> HoldRule:
        """What it held stays held; `queue.no_such_rule`."""
        with self._transaction() as connection:
            row = connection.execute(
                "DELETE FROM hold_rule WHERE number = ?"
                " RETURNING number, sender, recipient, submitter, reason, made_at",
                (number,),
            ).fetchone()
        if row is None:
            raise QueueError("queue.no_such_rule", "there is no hold rule with this number")
        return read_rule(row)

    def pauses(self) -> Sequence[Pause]:
        """What is not delivered to at present, the whole queue first."""
        with self._reading() as connection:
            return read_pauses(connection)

    def pause(self, pause: Pause) -> None:
        """`claim` passes this destination over from now on; `queue.too_many_pauses`."""
        with self._transaction() as connection:
            (count,) = connection.execute("SELECT COUNT(*) FROM pause").fetchone()
            if count >= MAX_PAUSES:
                raise QueueError("queue.too_many_pauses", f"{MAX_PAUSES} domains are paused, resume some first")
            connection.execute(
                "INSERT OR REPLACE INTO pause VALUES (?, ?, ?)",
                (pause.destination.lower(), pause.reason, pause.made_at.timestamp()),
            )
        self._bus.publish(QUEUE_TOPIC)

    def resume(self, destination: str, now: datetime) -> Pause:
        """Deliver again; what waited lives a day more when its time is over. `queue.not_paused`."""
        extended = (now + _RELEASED_LIFETIME).timestamp()
        with self._transaction() as connection:
            found = [each for each in read_pauses(connection) if each.destination == destination.lower()]
            if not found:
                raise QueueError("queue.not_paused", "delivery is not paused there")
            connection.execute("DELETE FROM pause WHERE destination = ?", (found[0].destination,))
            connection.execute(
                "UPDATE message SET expires_at = ?1 WHERE expires_at < ?1 AND"
                " (?2 = '' OR queue_id IN (SELECT queue_id FROM recipient WHERE destination = ?2))",
                (extended, found[0].destination),
            )
        self._bus.publish(QUEUE_TOPIC)
        return found[0]

    def history(self, where: QueueFilter, offset: int, limit: int) -> Sequence[Finished]:
        """Recipients that have left, latest first."""
        condition, values = finished_condition(where, self._clock.now())
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT {FINISHED} FROM finished WHERE {condition} ORDER BY finished_at DESC, number DESC LIMIT ? OFFSET ?",
                (*values, limit, offset),
            ).fetchall()
        return [read_finished(row) for row in rows]

    def forget(self, before: datetime, limit: int) -> int:
        """Remove what left before that time from the history, with its attempts; how many recipients."""
        with self._transaction() as connection:
            gone = connection.execute(
                "DELETE FROM finished WHERE number IN"
                " (SELECT number FROM finished WHERE finished_at < ? ORDER BY finished_at LIMIT ?) RETURNING queue_id",
                (before.timestamp(), limit),
            ).fetchall()
            connection.executemany(
                "DELETE FROM attempt WHERE queue_id = ?1 AND NOT EXISTS (SELECT 1 FROM message WHERE queue_id = ?1)"
                " AND NOT EXISTS (SELECT 1 FROM finished WHERE queue_id = ?1)",
                sorted(set(gone)),
            )
        return len(gone)

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
