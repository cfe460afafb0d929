"""The queue on the wire: parameters, rows and sentences of `queue.*` and the topic `queue.window`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from mailbox_app.control.methods.queue_why import Situation, advice, why
from mailbox_app.control.methods.spans import duration, whole_seconds
from mailbox_app.control.schema import Count, Params
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.model import (
    Finished,
    QueuedMessage,
    QueuedRecipient,
    QueueFilter,
    QueueStats,
    RecipientState,
)
from mailbox_app.proto.plain_text import clean

Action = Literal["retry", "hold", "release", "bounce", "drop", "route"]
State = Literal["deferred", "active", "held", "quarantined"]
Sort = Literal["next", "age", "size", "from", "to", "attempts"]


class Filter(Params, rename={"sender": "from", "recipient": "to"}):
    """Which recipients; all given conditions hold. Addresses match whole, or by `@domain`."""

    ids: list[str] = field(default_factory=list)
    sender: str = ""
    recipient: str = ""
    submitter: str = ""
    """The account that sent it."""
    domain: str = ""
    older_than_seconds: Annotated[float, Meta(ge=0)] | None = None
    state: State | None = None
    text: str = ""


class Window(Params):
    """One page of the queue."""

    filter: Filter = field(default_factory=Filter)
    sort: Sort = "next"
    reverse: bool = False
    offset: Count = 0
    limit: Annotated[int, Meta(ge=1, le=500)] = 100
    why: bool = False
    """With a sentence on each row; it tells how long it still waits, so it is another one every moment."""


class MessageId(Params):
    """Which message."""

    id: str


class Plan(Params):
    """An action on what the filter matches, or on exactly these [id, address] pairs."""

    action: Action
    filter: Filter | None = None
    recipients: list[tuple[str, str]] | None = None
    route: Annotated[str, Meta(max_length=200)] = ""
    """With `route`: the name of the route; "" for the configured one."""
    reason: Annotated[str, Meta(max_length=300)] = ""
    """With `hold`: what whoever looks at it later is told."""


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
    enhanced: str = ""
    reason: str = ""
    """Why it is held, quarantined, or was passed over at its last turn."""
    route: str = ""
    """The route that an operator chose for it."""
    priority: str = ""
    why: str = ""
    """One sentence, when it was asked for: why it waits, what answered last, when it goes next."""


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
    quarantined: int = 0


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


class AdviceView(Struct):
    """What a well-known answer means, and where the other side explains it."""

    code: str
    sentence: str
    link: str


class FinishedView(Struct, rename={"sender": "from", "recipient": "to"}):
    """One recipient that has left the queue."""

    id: str
    sender: str
    recipient: str
    submitter: str
    message_id: str
    size_bytes: int
    arrived_at: datetime
    finished_at: datetime
    fate: str
    code: int
    enhanced: str
    text: str
    host: str
    tls: str
    attempts: int


class MessageView(Struct, rename={"sender": "from"}):
    """One message, waiting or of the last 30 days; of one that has left, `expires_at` is null and the header is gone."""

    id: str
    sender: str
    size_bytes: int
    arrived_at: datetime
    expires_at: datetime | None
    submitter: str
    message_id: str
    header: str
    recipients: list[Row]
    attempts: list[AttemptView]
    why: str
    finished: list[FinishedView] = field(default_factory=list)
    """Its recipients that have left the queue, the latest first."""
    advice: list[AdviceView] = field(default_factory=list)
    priority: str = ""


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
        submitter=wire.submitter,
        domain=wire.domain.lower(),
        older_than_seconds=wire.older_than_seconds,
        state=RecipientState(wire.state) if wire.state else None,
        text=wire.text,
    )


def sort_of(wire: Sort) -> str:
    """The queue's own name of a sort."""
    return {"from": "sender", "to": "recipient"}.get(wire, wire)


def row_view(
    row: QueuedRecipient, message: QueuedMessage | None, now: datetime | None = None, about: Situation | None = None
) -> Row:
    """One recipient as a client sees it; with a time and what is true beside it, with the sentence."""
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
        enhanced=clean(row.last_enhanced),
        reason=clean(row.hold_reason),
        route=clean(row.route),
        priority=message.envelope.priority.name.lower() if message else "",
        why="" if now is None or about is None else why(row, now, about),
    )


def finished_view(row: Finished) -> FinishedView:
    """One recipient that has left, as a client sees it."""
    return FinishedView(
        row.queue_id, clean(row.sender), clean(row.address), clean(row.submitter), clean(row.message_id), row.size_bytes,
        whole_seconds(row.arrived_at), whole_seconds(row.finished_at), row.fate.value, row.code, clean(row.enhanced),
        clean(row.text), clean(row.host), clean(row.tls), row.attempts,
    )  # fmt: skip


def advice_views(rows: Sequence[QueuedRecipient]) -> list[AdviceView]:
    """What the last answers mean, each piece of advice once."""
    found = {known.code: known for row in rows if (known := advice(row)) is not None}
    return [AdviceView(known.code, known.sentence, known.link) for known in found.values()]


def stats_view(stats: QueueStats) -> StatsView:
    """Counts as a client sees them."""
    return StatsView(
        stats.recipients, stats.messages, stats.deferred, stats.active, stats.held, stats.late,
        None if stats.oldest_at is None else whole_seconds(stats.oldest_at),
        [(clean(domain), count) for domain, count in stats.by_destination], stats.quarantined,
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
    if stats.quarantined:
        parts.append(f"{stats.quarantined} unreadable")
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
