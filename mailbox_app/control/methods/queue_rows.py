"""The queue on the wire: parameters, rows and sentences of `queue.*` and the topic `queue.window`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from mailbox_app.control.schema import Count, Params
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.model import QueuedMessage, QueuedRecipient, QueueFilter, QueueStats, RecipientState
from mailbox_app.proto.plain_text import clean

Action = Literal["retry", "hold", "release", "bounce", "drop"]
Sort = Literal["next", "age", "size", "from", "to", "attempts"]


class Filter(Params, rename={"sender": "from", "recipient": "to"}):
    """Which recipients; all given conditions hold. Addresses match whole, or by `@domain`."""

    ids: list[str] = field(default_factory=list)
    sender: str = ""
    recipient: str = ""
    domain: str = ""
    older_than_seconds: Annotated[float, Meta(ge=0)] | None = None
    state: Literal["deferred", "active", "held"] | None = None
    text: str = ""


class Window(Params):
    """One page of the queue."""

    filter: Filter = field(default_factory=Filter)
    sort: Sort = "next"
    reverse: bool = False
    offset: Count = 0
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class MessageId(Params):
    """Which message."""

    id: str


class Plan(Params):
    """An action on what the filter matches, or on exactly these [id, address] pairs."""

    action: Action
    filter: Filter | None = None
    recipients: list[tuple[str, str]] | None = None


class Apply(Plan, kw_only=True):
    """The same with the plan's hash."""

    plan: str


class Row(Struct, rename={"sender": "from", "recipient": "to"}):
    """One waiting recipient."""

    id: str
    state: str
    next_at: datetime
    arrived_at: datetime | None
    attempts: int
    size_bytes: int | None
    sender: str
    recipient: str
    code: int
    last: str
    host: str


class StatsView(Struct):
    """Counts."""

    recipients: int
    messages: int
    deferred: int
    active: int
    held: int
    late: int
    oldest_at: datetime | None
    by_destination: list[tuple[str, int]]


class Listing(Struct):
    """One page; `summary` is the sentence above it."""

    total: int
    offset: int
    summary: str
    rows: list[Row]
    by_destination: list[tuple[str, int]]
    stats: StatsView


class AttemptView(Struct, rename={"recipient": "to"}):
    """One attempt for one recipient."""

    at: datetime
    recipient: str
    fate: str
    code: int
    text: str
    host: str
    tls: str
    seconds: float


class MessageView(Struct, rename={"sender": "from"}):
    """One message."""

    id: str
    sender: str
    size_bytes: int
    arrived_at: datetime
    expires_at: datetime
    submitter: str
    message_id: str
    header: str
    recipients: list[Row]
    attempts: list[AttemptView]
    why: str


class Sample(Struct, rename={"recipient": "to"}):
    """One of the recipients meant."""

    id: str
    recipient: str


class Planned(Struct):
    """What an action would do; `plan` is the hash `queue.apply` wants."""

    plan: str
    count: int
    messages: int
    sample: list[Sample]
    effect: str
    busy: int
    """Recipients that match and are left alone: they are being delivered right now."""


class Applied(Struct):
    """What was done, counted in recipients."""

    done: int
    effect: str


def filter_of(wire: Filter) -> QueueFilter:
    """The queue's own filter."""
    return QueueFilter(
        ids=tuple(QueueId(queue_id) for queue_id in wire.ids),
        sender=wire.sender,
        recipient=wire.recipient,
        domain=wire.domain.lower(),
        older_than_seconds=wire.older_than_seconds,
        state=RecipientState(wire.state) if wire.state else None,
        text=wire.text,
    )


def sort_of(wire: Sort) -> str:
    """The queue's own name of a sort."""
    return {"from": "sender", "to": "recipient"}.get(wire, wire)


def row_view(row: QueuedRecipient, message: QueuedMessage | None) -> Row:
    """One recipient as a client sees it."""
    return Row(
        id=row.queue_id,
        state=row.state.value,
        next_at=whole_seconds(row.next_at),
        arrived_at=whole_seconds(message.arrived_at) if message else None,
        attempts=row.attempts,
        size_bytes=message.size_bytes if message else None,
        sender=clean(message.envelope.sender) if message else "",
        recipient=clean(row.address),
        code=row.last_code,
        last=clean(row.last_text),
        host=clean(row.last_host),
    )


def stats_view(stats: QueueStats) -> StatsView:
    """Counts as a client sees them."""
    return StatsView(
        stats.recipients, stats.messages, stats.deferred, stats.active, stats.held, stats.late,
        None if stats.oldest_at is None else whole_seconds(stats.oldest_at),
        [(clean(domain), count) for domain, count in stats.by_destination],
    )  # fmt: skip


def summary(stats: QueueStats, now: datetime, matching: int) -> str:
    """One sentence on the whole queue."""
    if not stats.recipients:
        return "Nothing is waiting."
    parts = [f"{stats.recipients} waiting"]
    if stats.oldest_at:
        parts[0] += f", oldest {duration((now - stats.oldest_at).total_seconds())}"
    if stats.held:
        parts.append(f"{stats.held} held")
    if stats.late:
        parts.append(f"{stats.late} late")
    if matching != stats.recipients:
        parts.append(f"{matching} match")
    sentence = "; ".join(parts) + "."
    if stats.by_destination:
        domain, count = stats.by_destination[0]
        if count > 1 and len(stats.by_destination) > 1:
            sentence += f" {count} of them wait for {clean(domain)}."
    return sentence


def why(message: QueuedMessage, now: datetime) -> str:
    """One sentence on what a message waits for."""
    waiting = sorted(message.recipients, key=lambda row: row.next_at)
    if not waiting:
        return "Nothing of it waits any more."
    first = waiting[0]
    if all(row.state is RecipientState.HELD for row in waiting):
        return "It is held until somebody releases it."
    if any(row.state is RecipientState.ACTIVE for row in waiting):
        return "It is being delivered right now."
    wait = (first.next_at - now).total_seconds()
    when = f"in {duration(wait)}" if wait > 0 else "now"
    if not first.attempts:
        return f"It has not been tried yet; the first try is {when}."
    tries = "once" if first.attempts == 1 else f"{first.attempts} times"
    host = f"{clean(first.last_host)} answered" if first.last_host else "the last answer was"
    return f"Tried {tries}; {host} {first.last_code} {clean(first.last_text, 200)}; next try {when}."


def whole_seconds(at: datetime) -> datetime:
    """As the wire wants times."""
    return at.replace(microsecond=0)


def duration(seconds: float) -> str:
    """Short, for sentences: 40 s, 5 min, 3 h, 2 d."""
    seconds = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
