"""Methods `queue.*`: look at waiting mail, and change its fate by plan and apply.

A plan counts what would happen and carries a hash over exactly the recipients it means; `queue.apply` is refused with
`queue.changed` when that set is not the same any more. Filters of the wire become the queue's own in `queue_rows.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import islice

from mailbox_app.control.context import ControlContext
from mailbox_app.control.methods.queue_departed import departed
from mailbox_app.control.methods.queue_rows import (
    Action,
    Applied,
    Apply,
    AttemptView,
    Listing,
    MessageId,
    MessageView,
    Plan,
    Planned,
    Sample,
    StatsView,
    Window,
    filter_of,
    row_view,
    sort_of,
    stats_view,
    summary,
    whole_seconds,
    why,
)
from mailbox_app.control.methods.queue_set import Chosen, choose
from mailbox_app.control.schema import Call, Method, NoParams
from mailbox_app.errors import MailboxError, QueueError
from mailbox_app.events.hints import QUEUE_TOPIC
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.model import Fate, Lease, Outcome, QueueFilter, Settlement
from mailbox_app.observe.mail_log import MailEvent
from mailbox_app.proto.plain_text import clean, clean_lines

_LEASE_SECONDS = 300.0
_SAMPLE = 5
_ID_BATCH = 200


async def list_window(context: ControlContext, _call: Call | None, params: Window) -> Listing:
    """One page of waiting recipients."""
    where = filter_of(params.filter)
    now = context.clock.now()
    total, rows, messages = await context.offload.run(
        context.queue.window, where, sort_of(params.sort), params.reverse, params.offset, params.limit
    )
    stats = await context.offload.run(context.queue.stats, now)
    by_id = {message.queue_id: message for message in messages}
    return Listing(
        total=total,
        offset=params.offset,
        summary=summary(stats, now, total),
        rows=[row_view(row, by_id.get(row.queue_id)) for row in rows],
        by_destination=[(clean(domain), count) for domain, count in stats.by_destination],
        stats=stats_view(stats),
    )


async def show(context: ControlContext, _call: Call, params: MessageId) -> MessageView:
    """One message with its recipients and all attempts."""
    queue_id = QueueId(params.id)
    try:
        message = await context.offload.run(context.queue.message, queue_id)
    except QueueError as error:
        if error.code == "queue.no_such_id" and (told := await context.offload.run(departed, context, queue_id)):
            raise told from error
        raise
    attempts = await context.offload.run(context.queue.attempts, queue_id)
    header = await context.offload.run(context.queue.header, queue_id)
    return MessageView(
        id=message.queue_id,
        sender=clean(message.envelope.sender),
        size_bytes=message.size_bytes,
        arrived_at=whole_seconds(message.arrived_at),
        expires_at=whole_seconds(message.expires_at),
        submitter=clean(message.envelope.submitter),
        message_id=clean(message.envelope.message_id),
        header=clean_lines(header.decode("utf-8", "replace")),
        recipients=[row_view(row, message) for row in message.recipients],
        attempts=[
            AttemptView(
                whole_seconds(each.at), clean(each.address), each.fate.value, each.code, clean(each.text), clean(each.host),
                clean(each.tls), each.duration_seconds,
            )
            for each in attempts
        ],
        why=why(message, context.clock.now()),
    )  # fmt: skip


async def stats(context: ControlContext, _call: Call, _params: NoParams) -> StatsView:
    """Counts."""
    return stats_view(await context.offload.run(context.queue.stats, context.clock.now()))


async def plan(context: ControlContext, _call: Call, params: Plan) -> Planned:
    """What an action would do, and the hash that `queue.apply` wants."""
    chosen = await context.offload.run(choose, context.queue, params)
    return Planned(
        plan=chosen.digest(params.action),
        count=len(chosen.recipients),
        messages=len(chosen.by_message()),
        sample=[Sample(queue_id, clean(address)) for queue_id, address in chosen.recipients[:_SAMPLE]],
        effect=_effect(params.action, len(chosen.recipients), len(chosen.by_message())),
        busy=chosen.busy,
    )


async def apply(context: ControlContext, call: Call, params: Apply) -> Applied:
    """Do what was planned, or nothing when the set is another one now."""
    call.what, call.object = f"queue.{params.action}", "queue"
    chosen = await context.offload.run(choose, context.queue, params)
    if chosen.digest(params.action) != params.plan:
        raise QueueError(
            "queue.changed",
            f"the queue has changed: {len(chosen.recipients)} recipients match now",
            fields={"remedy": "Look again and repeat the action."},
        )
    call.object = ", ".join(islice(chosen.by_message(), 20)) or "queue"
    done = await context.offload.run(_carry_out, context, params.action, chosen)
    context.bus.publish(QUEUE_TOPIC)
    call.after = {"done": done, "recipients": [list(pair) for pair in chosen.recipients[:100]]}
    call.detail = _effect(params.action, done, len(chosen.by_message()))
    return Applied(done, call.detail)


def _carry_out(context: ControlContext, action: Action, chosen: Chosen) -> int:
    now = context.clock.now()
    done = 0
    for where in _filters(chosen):
        if action == "retry":
            done += context.queue.retry(where, now)
        elif action == "hold":
            done += context.queue.hold(where)
        elif action == "release":
            done += context.queue.unhold(where, now)
        else:
            done += _finish(context, where, bounce=action == "bounce")
    return done


def _finish(context: ControlContext, where: QueueFilter, *, bounce: bool) -> int:
    """Own the recipients first, so that no runner delivers what is being returned or dropped."""
    done = 0
    while leases := context.queue.take(where, context.clock.now(), _LEASE_SECONDS):
        waiting = list(leases)
        try:
            while waiting:
                done += _finish_lease(context, waiting[0], bounce=bounce)
                del waiting[0]
        except MailboxError:
            for lease in waiting:  # back as they were, or nobody could act on them until the leases run out
                with suppress(MailboxError):
                    context.queue.release(lease)
            raise
    return done


def _finish_lease(context: ControlContext, lease: Lease, *, bounce: bool) -> int:
    outcomes = _outcomes(lease, bounce=bounce)
    if bounce:  # the notification is durable before the recipients leave: a crash in between repeats it
        context.bounces.report(lease, outcomes)
    now = context.clock.now()
    context.queue.settle([Settlement(lease, outcomes, now + timedelta(seconds=_LEASE_SECONDS))], now)
    message = lease.message
    context.mail_log.write(
        MailEvent(
            verb="failed",
            direction="out",
            queue_id=message.queue_id,
            sender=message.envelope.sender,
            recipients=tuple(outcome.address for outcome in outcomes),
            message_id=message.envelope.message_id,
            size_bytes=message.size_bytes,
            code=outcomes[0].code,
            text=outcomes[0].text,
            reason="returned" if bounce else "dropped",
        )
    )
    return len(outcomes)


def _outcomes(lease: Lease, *, bounce: bool) -> Sequence[Outcome]:
    text = "returned by the administrator" if bounce else "dropped by the administrator"
    return [
        Outcome(recipient.address, Fate.FAILED, 554, "5.0.0", text) for recipient in lease.message.recipients
    ]  # fmt: skip


def _filters(chosen: Chosen) -> Sequence[QueueFilter]:
    """The queue's filters that mean exactly the chosen set: whole messages in batches, single recipients one by one."""
    if chosen.exact:
        return [QueueFilter(ids=(QueueId(queue_id),), recipient=address) for queue_id, address in chosen.recipients]
    ids = [QueueId(queue_id) for queue_id in chosen.by_message()]
    return [chosen.narrowed(ids[start : start + _ID_BATCH]) for start in range(0, len(ids), _ID_BATCH)]


def _effect(action: Action, count: int, messages: int) -> str:
    recipients = "1 recipient" if count == 1 else f"{count} recipients"
    of = "1 message" if messages == 1 else f"{messages} messages"
    match action:
        case "retry":
            return f"{recipients} of {of} tried again now"
        case "hold":
            return f"{recipients} of {of} held until released"
        case "release":
            return f"{recipients} of {of} released and tried now"
        case "bounce":
            return f"{recipients} of {of} returned to their senders as undeliverable"
        case "drop":
            return f"{recipients} of {of} dropped; nobody is told"


METHODS = (
    Method("queue.list", Window, Listing, list_window, "One page of waiting recipients."),
    Method("queue.show", MessageId, MessageView, show, "One message."),
    Method("queue.stats", NoParams, StatsView, stats, "Counts."),
    Method("queue.plan", Plan, Planned, plan, "What an action would do."),
    Method("queue.apply", Apply, Applied, apply, "Do what was planned.", changes=True),
)
