"""Methods `queue.list`, `queue.show`, `queue.stats`, `queue.history`, `queue.content`: look at waiting mail and at what has left.

Filters of the wire become the queue's own in `queue_rows.py`; the sentence that says why something waits is made in
`queue_why.py`. Reading the content of a message is written into the audit: it is somebody's private mail.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct, field

from mailbox_app.control.context import ControlContext
from mailbox_app.control.methods.queue_departed import departed, story
from mailbox_app.control.methods.queue_rows import (
    AttemptView,
    Filter,
    FinishedView,
    Listing,
    MessageId,
    MessageView,
    StatsView,
    Window,
    advice_views,
    filter_of,
    finished_view,
    row_view,
    sort_of,
    stats_view,
    summary,
)
from mailbox_app.control.methods.queue_why import Situation, situation, why_message
from mailbox_app.control.methods.spans import whole_seconds
from mailbox_app.control.schema import Call, Count, Method, NoParams, Params
from mailbox_app.errors import QueueError
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.model import Attempt, QueueFilter
from mailbox_app.proto.plain_text import clean, clean_lines

_PIECE_BYTES = 700_000
"""In base64 it fits into one frame."""
_FINISHED_SHOWN = 500


class HistoryPage(Params):
    """One page of what has left the queue; `older_than_seconds` counts from its end, `state` says nothing."""

    filter: Filter = field(default_factory=Filter)
    offset: Count = 0
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class History(Struct):
    """One page, the latest first; `more` says whether another one follows."""

    offset: int
    more: bool
    rows: list[FinishedView]


class ContentPiece(Params):
    """Which message, from which byte on."""

    id: str
    offset: Count = 0


class Content(Struct):
    """A piece of a message as it is stored, in base64; the last one ends at `size_bytes`."""

    offset: int
    size_bytes: int
    data: str


async def list_window(context: ControlContext, _call: Call | None, params: Window) -> Listing:
    """One page of waiting recipients."""
    where = filter_of(params.filter)
    now = context.clock.now()
    total, rows, messages = await context.offload.run(
        context.queue.window, where, sort_of(params.sort), params.reverse, params.offset, params.limit
    )
    stats = await context.offload.run(context.queue.stats, now)
    about = await around(context) if params.why else None
    by_id = {message.queue_id: message for message in messages}
    return Listing(
        total=total,
        offset=params.offset,
        summary=summary(stats, now, total),
        rows=[row_view(row, by_id.get(row.queue_id), now, about) for row in rows],
        by_destination=[(clean(domain), count) for domain, count in stats.by_destination],
        stats=stats_view(stats),
    )


async def around(context: ControlContext) -> Situation:
    """What is true beside the rows."""
    return situation(await context.offload.run(context.queue.pauses), context.under_way())


async def show(context: ControlContext, _call: Call, params: MessageId) -> MessageView:
    """One message with its recipients and all attempts; also one that has left, as long as the history knows it."""
    queue_id = QueueId(params.id)
    try:
        message = await context.offload.run(context.queue.message, queue_id)
    except QueueError as error:
        if error.code != "queue.no_such_id":
            raise
        return await _show_finished(context, queue_id, error)
    attempts = await context.offload.run(context.queue.attempts, queue_id)
    finished = await context.offload.run(context.queue.history, QueueFilter(ids=(queue_id,)), 0, _FINISHED_SHOWN)
    now, about = context.clock.now(), await around(context)
    return MessageView(
        id=message.queue_id,
        sender=clean(message.envelope.sender),
        size_bytes=message.size_bytes,
        arrived_at=whole_seconds(message.arrived_at),
        expires_at=whole_seconds(message.expires_at),
        submitter=clean(message.envelope.submitter),
        message_id=clean(message.envelope.message_id),
        header=await _header(context, queue_id),
        recipients=[row_view(row, message, now, about) for row in message.recipients],
        attempts=_attempts(attempts),
        why=why_message(message, now, about),
        finished=[finished_view(row) for row in finished],
        advice=advice_views(message.recipients),
        priority=message.envelope.priority.name.lower(),
    )


async def _header(context: ControlContext, queue_id: QueueId) -> str:
    """The header block; that it cannot be read is said in its place, because everything else of the message is known."""
    try:
        header = await context.offload.run(context.queue.header, queue_id)
    except QueueError as error:
        return f"(The header cannot be read: {error.public_text}.)"
    return clean_lines(header.decode("utf-8", "replace"))


def _attempts(attempts: Sequence[Attempt]) -> list[AttemptView]:
    return [
        AttemptView(
            whole_seconds(each.at), clean(each.address), each.fate.value, each.code, clean(each.text), clean(each.host),
            clean(each.tls), each.duration_seconds,
        )
        for each in attempts
    ]  # fmt: skip


async def _show_finished(context: ControlContext, queue_id: QueueId, error: QueueError) -> MessageView:
    """From the history; when it has forgotten, from the decision journal as a refusal that tells what became of it."""
    finished = await context.offload.run(context.queue.history, QueueFilter(ids=(queue_id,)), 0, _FINISHED_SHOWN)
    if not finished:
        if told := await context.offload.run(departed, context, queue_id):
            raise told from error
        raise error
    attempts = await context.offload.run(context.queue.attempts, queue_id)
    first = finished[0]
    return MessageView(
        id=queue_id,
        sender=clean(first.sender),
        size_bytes=first.size_bytes,
        arrived_at=whole_seconds(first.arrived_at),
        expires_at=None,
        submitter=clean(first.submitter),
        message_id=clean(first.message_id),
        header="",
        recipients=[],
        attempts=_attempts(attempts),
        why=story(finished, context.clock.now()),
        finished=[finished_view(row) for row in finished],
    )


async def stats(context: ControlContext, _call: Call, _params: NoParams) -> StatsView:
    """Counts."""
    return stats_view(await context.offload.run(context.queue.stats, context.clock.now()))


async def history(context: ControlContext, _call: Call, params: HistoryPage) -> History:
    """What has left the queue."""
    rows = await context.offload.run(context.queue.history, filter_of(params.filter), params.offset, params.limit + 1)
    return History(params.offset, len(rows) > params.limit, [finished_view(row) for row in rows[: params.limit]])


async def content(context: ControlContext, call: Call, params: ContentPiece) -> Content:
    """A piece of a message; whoever reads it is written down."""
    call.object = clean(params.id, 100)
    queue_id = QueueId(params.id)
    message = await context.offload.run(context.queue.message, queue_id)
    data = await context.offload.run(context.queue.content, queue_id, params.offset, _PIECE_BYTES)
    call.detail = f"bytes {params.offset} to {params.offset + len(data)} of {message.size_bytes} read"
    return Content(params.offset, message.size_bytes, base64.b64encode(data).decode("ascii"))


METHODS = (
    Method("queue.list", Window, Listing, list_window, "One page of waiting recipients."),
    Method("queue.show", MessageId, MessageView, show, "One message, also one that has left."),
    Method("queue.stats", NoParams, StatsView, stats, "Counts."),
    Method("queue.history", HistoryPage, History, history, "What has left the queue."),
    Method("queue.content", ContentPiece, Content, content, "Read a message as it is stored.", changes=True),
)
