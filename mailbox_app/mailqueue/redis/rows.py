"""What the queue keeps in Redis, as the queue's own values: records are MessagePack arrays, times seconds since 1970."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.model import (
    Attempt,
    Envelope,
    Fate,
    Finished,
    HoldRule,
    NewRecipient,
    Pause,
    Priority,
    QueuedMessage,
    QueuedRecipient,
    RecipientState,
    read_time,
)

DAMAGED = "what the queue knows about this message cannot be read"
encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder().decode


def name(queue_id: str, address: str) -> str:
    """How the sorted sets call a recipient."""
    return f"{queue_id}/{address}"


def write_envelope(envelope: Envelope) -> bytes:
    """The scripts read the sender, the submitter and the Message-ID at their places 1, 6 and 7."""
    return encode(
        (envelope.sender, envelope.body, int(envelope.smtputf8), envelope.ret, envelope.envid, envelope.submitter,
         envelope.message_id, int(envelope.require_tls), int(envelope.tls_optional), int(envelope.priority),
         envelope.release_request)
    )  # fmt: skip


def new_record(new: NewRecipient, hold_reason: str, due_at: float, priority: int, node: str) -> tuple[object, ...]:
    """Transport, destination, state, what it waits as, tries, time, last answer (4), wishes (2), and what operators set (5)."""
    state = "held" if hold_reason else "deferred"
    destination = new.address.rpartition("@")[2].lower()
    return (
        new.transport, destination, state, state, 0, due_at, 0, "", new.reason, "", new.notify, new.orcpt, "", hold_reason,
        0, "", priority, node if new.transport == "local" else "",
    )  # fmt: skip


def record_of(row: QueuedRecipient, waits_as: str, priority: int, node: str) -> tuple[object, ...]:
    """A record of a recipient that has waited elsewhere."""
    return (
        row.transport, row.destination, waits_as, waits_as, row.attempts, row.next_at.timestamp(), row.last_code,
        row.last_enhanced, row.last_text, row.last_host, row.notify, row.orcpt, row.route, row.hold_reason,
        int(row.delay_told), "", priority, node if row.transport == "local" else "",
    )  # fmt: skip


def read_recipient(queue_id: str, address: str, record: bytes) -> QueuedRecipient:
    """From a record; one that cannot be read is shown as what the scripts make of it when they come upon it."""
    try:
        transport, destination, state, _, attempts, next_at, code, enhanced, text, host, *more = decode(record)
        notify, orcpt, route, why, told, *_ = more
        return QueuedRecipient(
            QueueId(queue_id), address, transport, destination, RecipientState(state), attempts, read_time(next_at), code,
            text, host, notify, orcpt, enhanced, route, why, bool(told),
        )  # fmt: skip
    except (ValueError, TypeError, msgspec.DecodeError):
        domain, lost = address.rpartition("@")[2].lower(), RecipientState.QUARANTINED
        return QueuedRecipient(
            QueueId(queue_id), address, "smtp", domain, lost, 0, read_time(0), 0, "", "", "", "", hold_reason=DAMAGED
        )


def waits_as(record: bytes) -> str:
    """The state a record's recipient goes back to."""
    try:
        return RecipientState(decode(record)[3]).value
    except (ValueError, TypeError, LookupError, msgspec.DecodeError):
        return RecipientState.QUARANTINED.value


def read_message(
    queue_id: str, fields: Sequence[bytes | None], recipients: Sequence[QueuedRecipient]
) -> QueuedMessage | None:
    """From the fields e, size, arr and exp; None when the message has left meanwhile."""
    envelope, size, arrived, expires = fields[:4]
    if envelope is None or size is None or arrived is None or expires is None:
        return None
    return QueuedMessage(
        QueueId(queue_id),
        read_envelope(envelope) or Envelope(""),
        int(size) if size.isdigit() else 0,
        _stored_time(arrived),
        _stored_time(expires),
        recipients,
    )


def read_envelope(packed: bytes) -> Envelope | None:
    """None when it cannot be read: then nothing may leave under it."""
    try:
        sender, body, utf8, ret, envid, submitter, message_id, require_tls, tls_optional, priority, *later = decode(
            packed
        )
        return Envelope(
            sender, body, bool(utf8), ret, envid, submitter, message_id, bool(require_tls), bool(tls_optional),
            Priority(priority), *later[:1],
        )  # fmt: skip
    except (ValueError, TypeError, msgspec.DecodeError):
        return None


def _stored_time(text: bytes) -> datetime:
    try:
        return read_time(float(text))
    except ValueError:
        return read_time(0)


def read_attempt(record: bytes) -> Attempt:
    """From the list of a message's attempts."""
    at, address, fate, code, text, host, tls, seconds = decode(record)
    return Attempt(read_time(at), address, Fate(fate), code, text, host, tls, float(seconds))


def write_attempt(attempt: Attempt) -> bytes:
    """For a script that adds to the list of a message's attempts."""
    record = (
        attempt.at.timestamp(), attempt.address, attempt.fate.value, attempt.code, attempt.text, attempt.host, attempt.tls,
        attempt.duration_seconds,
    )  # fmt: skip
    return encode(("attempt", record))


def read_finished(queue_id: str, address: str, record: bytes) -> Finished:
    """From the history."""
    sender, submitter, message_id, size, arrived, finished, fate, code, enhanced, text, host, tls, attempts = decode(
        record
    )
    return Finished(
        QueueId(queue_id), address, sender, submitter, message_id, size, read_time(arrived), read_time(finished), Fate(fate),
        code, enhanced, text, host, tls, attempts,
    )  # fmt: skip


def write_finished(one: Finished) -> bytes:
    """For a script that adds to the history."""
    record = (
        one.sender, one.submitter, one.message_id, one.size_bytes, one.arrived_at.timestamp(), one.finished_at.timestamp(),
        one.fate.value, one.code, one.enhanced, one.text, one.host, one.tls, one.attempts,
    )  # fmt: skip
    return encode(("finished", one.address, record))


def write_rule(rule: HoldRule, made_at: float) -> bytes:
    """Its number comes first; the script that adds it sets it."""
    return encode(
        (rule.number, rule.sender.lower(), rule.recipient.lower(), rule.submitter.lower(), rule.reason, made_at)
    )


def read_rules(records: Sequence[bytes]) -> list[HoldRule]:
    """Oldest first."""
    rules = []
    for record in records:
        number, sender, recipient, submitter, reason, made_at = decode(record)
        rules.append(HoldRule(number, sender, recipient, submitter, reason, read_time(made_at)))
    return sorted(rules, key=lambda rule: rule.number)


def read_pause(destination: bytes, record: bytes) -> Pause:
    """From the hash of pauses."""
    reason, made_at = decode(record)
    return Pause(destination.decode(), reason, read_time(made_at))


def page(answer: Any) -> tuple[list[QueuedRecipient], dict[str, QueuedMessage]]:
    """The answer of the script that looks rows up by name: recipients in that order, and their messages."""
    rows, messages = answer
    found: dict[str, QueuedMessage] = {}
    for queue_id, fields in zip(messages[::2], messages[1::2], strict=True):
        message = read_message(queue_id.decode(), fields, ())
        if message is not None:
            found[message.queue_id] = message
    recipients = [
        read_recipient(queue_id.decode(), address.decode(), record)
        for queue_id, address, record in zip(rows[::3], rows[1::3], rows[2::3], strict=True)
    ]
    return [row for row in recipients if row.queue_id in found], found
