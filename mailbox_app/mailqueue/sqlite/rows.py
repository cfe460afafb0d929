"""The rows of the queue's database: their columns, their values, and an operator's filter as a condition.

The condition speaks of `r` (recipient) and `m` (message); values never become part of a statement.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.model import (
    Envelope,
    Fate,
    Finished,
    HoldRule,
    Pause,
    Priority,
    QueuedMessage,
    QueuedRecipient,
    QueueFilter,
    RecipientState,
    read_time,
)
from mailbox_app.mailqueue.schedule import LIFETIME

SORTS = {
    "next": "r.next_at",
    "age": "r.queue_id",  # ids sort in order of arrival
    "size": "m.size_bytes",
    "sender": "lower(m.sender)",
    "recipient": "lower(r.address)",
    "attempts": "r.attempts",
}
RECIPIENT = (
    "r.queue_id, r.address, r.transport, r.destination, r.state, r.attempts, r.next_at, r.last_code, r.last_text,"
    " r.last_host, r.notify, r.orcpt, r.last_enhanced, r.route, r.hold_reason, r.delay_told"
)
MESSAGE = (
    "m.queue_id, m.sender, m.body, m.smtputf8, m.ret, m.envid, m.submitter, m.message_id, m.require_tls, m.tls_optional,"
    " m.priority, m.release_request, m.size_bytes, m.arrived_at, m.expires_at, m.spool_name"
)
FINISHED = (
    "queue_id, address, sender, submitter, message_id, size_bytes, arrived_at, finished_at, fate, code, enhanced, text, host,"
    " tls, attempts"
)
_PRIORITIES = frozenset(Priority)
JOINED = "recipient r JOIN message m ON m.queue_id = r.queue_id"


def filter_condition(where: QueueFilter, now: datetime) -> tuple[str, list[object]]:
    """The filter as SQL over `r` and `m`, and its values."""
    parts: list[str] = []
    values: list[object] = []

    def add(part: str, *new: object) -> None:
        parts.append(part)
        values.extend(new)

    if where.ids:
        add(f"r.queue_id IN ({marks(where.ids)})", *where.ids)
    if where.sender == "<>":
        add("m.sender = ''")
    elif where.sender.startswith("@"):
        add("m.sender LIKE ? ESCAPE '\\'", "%" + _escaped(where.sender))
    elif where.sender:
        add("lower(m.sender) = ?", where.sender.lower())
    if where.recipient.startswith("@"):
        add("r.destination = ?", where.recipient[1:].lower())
    elif where.recipient:
        add("lower(r.address) = ?", where.recipient.lower())
    if where.submitter:
        add("m.submitter = ?", where.submitter.lower())
    if where.domain:
        add("r.destination = ?", where.domain.lower())
    if where.older_than_seconds is not None:
        add("m.arrived_at <= ?", now.timestamp() - where.older_than_seconds)
    if where.state is not None and where.late_seconds is None:
        add("r.state = ?", where.state.value)
    elif where.state is not None:  # the expression keeps the planner from walking all that waits instead of what is old
        add("r.state || '' = ?", where.state.value)
    if where.late_seconds is not None:
        since = now.timestamp() - where.late_seconds  # the arrival for its index, the expiry for what was to go later
        expires = since + LIFETIME.total_seconds()
        add("m.arrived_at <= ? AND m.expires_at <= ? AND r.delay_told = 0", since, expires)
    if where.text:
        pattern = f"%{_escaped(where.text)}%"
        # one comparison instead of three: it is made for every row of the queue
        add("m.sender || ' ' || r.address || ' ' || r.last_text LIKE ? ESCAPE '\\'", pattern)
    return " AND ".join(parts) or "1 = 1", values


def finished_condition(where: QueueFilter, now: datetime) -> tuple[str, list[object]]:
    """The filter as SQL over `finished`; the state does not count."""
    values: list[object] = []
    parts: list[str] = []

    def add(part: str, *new: object) -> None:
        parts.append(part)
        values.extend(new)

    if where.ids:
        add(f"queue_id IN ({marks(where.ids)})", *where.ids)
    for column, wanted in (("sender", where.sender), ("address", where.recipient), ("submitter", where.submitter)):
        if wanted == "<>":
            add(f"{column} = ''")
        elif wanted.startswith("@"):
            add(f"{column} LIKE ? ESCAPE '\\'", "%" + _escaped(wanted))
        elif wanted:
            add(f"lower({column}) = ?", wanted.lower())
    if where.domain:
        add("address LIKE ? ESCAPE '\\'", "%@" + _escaped(where.domain))
    if where.older_than_seconds is not None:
        add("finished_at <= ?", now.timestamp() - where.older_than_seconds)
    if where.text:
        add("sender || ' ' || address || ' ' || text LIKE ? ESCAPE '\\'", f"%{_escaped(where.text)}%")
    return " AND ".join(parts) or "1 = 1", values


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def marks(values: Sequence[object]) -> str:
    """Placeholders for that many values."""
    return ", ".join("?" * len(values))


def read_recipient(row: Sequence[Any]) -> QueuedRecipient:
    """From the columns `RECIPIENT`."""
    queue_id, address, transport, destination, state, attempts, next_at, *rest = row
    rest[-1] = bool(rest[-1])  # delay_told
    return QueuedRecipient(
        QueueId(queue_id),
        address,
        transport,
        destination,
        RecipientState(state),
        attempts,
        read_time(next_at),
        *rest,
    )


def read_message(row: Sequence[Any], recipients: Sequence[QueuedRecipient]) -> QueuedMessage:
    """From the columns `MESSAGE`."""
    queue_id, sender, body, smtputf8, ret, envid, submitter, message_id, require_tls, tls_optional, priority, *rest = (
        row
    )
    release_request, size_bytes, arrived_at, expires_at, _ = rest
    envelope = Envelope(
        sender, body, bool(smtputf8), ret, envid, submitter, message_id, bool(require_tls), bool(tls_optional),
        _priority(priority), release_request,
    )  # fmt: skip
    return QueuedMessage(
        QueueId(queue_id), envelope, size_bytes, read_time(arrived_at), read_time(expires_at), recipients
    )


def _priority(number: int) -> Priority:
    """One that nobody knows (a damaged file) is none that hurries."""
    return Priority(number) if number in _PRIORITIES else Priority.BULK


def read_finished(row: Sequence[Any]) -> Finished:
    """From the columns `FINISHED`."""
    queue_id, *middle, arrived_at, finished_at, fate, code, enhanced, text, host, tls, attempts = row
    address, sender, submitter, message_id, size_bytes = middle
    return Finished(
        QueueId(queue_id), address, sender, submitter, message_id, size_bytes, read_time(arrived_at),
        read_time(finished_at), Fate(fate), code, enhanced, text, host, tls, attempts,
    )  # fmt: skip


def read_rule(row: Sequence[Any]) -> HoldRule:
    """From number, sender, recipient, submitter, reason, made_at."""
    number, sender, recipient, submitter, reason, made_at = row
    return HoldRule(number, sender, recipient, submitter, reason, read_time(made_at))


def read_rules(connection: sqlite3.Connection) -> Sequence[HoldRule]:
    """All hold rules, oldest first."""
    rows = connection.execute(
        "SELECT number, sender, recipient, submitter, reason, made_at FROM hold_rule ORDER BY number"
    )
    return [read_rule(row) for row in rows]


def read_pauses(connection: sqlite3.Connection) -> Sequence[Pause]:
    """All pauses, that of the whole queue first."""
    rows = connection.execute("SELECT destination, reason, made_at FROM pause ORDER BY destination")
    return [Pause(destination, reason, read_time(made_at)) for destination, reason, made_at in rows]
