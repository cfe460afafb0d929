"""Methods `queue.plan` and `queue.apply`: change the fate of waiting mail.

A plan counts what would happen and carries a hash over exactly the recipients it means; `queue.apply` is refused with
`queue.changed` when that set is not the same any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import islice

from mailbox_app.control.context import ControlContext
from mailbox_app.control.methods.queue_departed import DROPPED, RETURNED
from mailbox_app.control.methods.queue_rows import Action, Applied, Apply, Plan, Planned, Sample
from mailbox_app.control.methods.queue_set import Chosen, choose
from mailbox_app.control.schema import Call, Method
from mailbox_app.errors import MailboxError, QueueError
from mailbox_app.events.hints import QUEUE_TOPIC
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.model import Fate, Lease, Outcome, QueueFilter, Settlement
from mailbox_app.observe.mail_log import MailEvent
from mailbox_app.outbound.routes.choosing import RouteTable
from mailbox_app.proto.plain_text import clean

_LEASE_SECONDS = 300.0
_SAMPLE = 5
_SETTLED_AT_ONCE = 200
_ID_BATCH = 2_000
"""Messages changed in one step: long enough to share its flush, short enough to let the mail between two."""


async def plan(context: ControlContext, _call: Call, params: Plan) -> Planned:
    """What an action would do, and the hash that `queue.apply` wants."""
    _check_route(context, params)
    chosen = await context.offload.run(choose, context.queue, params)
    return Planned(
        plan=chosen.digest(params.action),
        count=len(chosen.recipients),
        messages=len(chosen.by_message()),
        sample=[Sample(queue_id, clean(address)) for queue_id, address in chosen.recipients[:_SAMPLE]],
        effect=_effect(params, len(chosen.recipients), len(chosen.by_message())),
        busy=chosen.busy,
    )


async def apply(context: ControlContext, call: Call, params: Apply) -> Applied:
    """Do what was planned, or nothing when the set is another one now."""
    call.what, call.object = f"queue.{params.action}", "queue"
    _check_route(context, params)
    chosen = await context.offload.run(choose, context.queue, params)
    if chosen.digest(params.action) != params.plan:
        raise QueueError(
            "queue.changed",
            f"the queue has changed: {len(chosen.recipients)} recipients match now",
            fields={"remedy": "Look again and repeat the action."},
        )
    call.object = ", ".join(islice(chosen.by_message(), 20)) or "queue"
    done = await context.offload.run(_carry_out, context, params, chosen, call.user)
    context.bus.publish(QUEUE_TOPIC)
    call.after = {"done": done, "recipients": [list(pair) for pair in chosen.recipients[:100]]}
    call.detail = _effect(params, done, len(chosen.by_message()))
    return Applied(done, call.detail)


def _check_route(context: ControlContext, params: Plan) -> None:
    if params.action != "route" or not params.route:
        return
    table = RouteTable(context.config.delivery, context.config.routes)
    if table.find(params.route) is None:
        names = ", ".join(route.name for route in table.all())
        raise QueueError(
            "queue.no_such_route",
            f"there is no route {clean(params.route, 100)}",
            fields={"remedy": f"The configuration has: {names}."},
        )


def _carry_out(context: ControlContext, params: Plan, chosen: Chosen, user: str) -> int:
    action: Action = params.action
    now = context.clock.now()
    done = 0
    for where in _filters(chosen):
        if action == "retry":
            done += context.queue.retry(where, now)
        elif action == "hold":
            done += context.queue.hold(where, held_by(user, params.reason))
        elif action == "release":
            done += context.queue.unhold(where, now)
        elif action == "route":
            done += context.queue.reroute(where, params.route, now)
        else:
            done += _finish(context, where, bounce=action == "bounce")
    return done


def held_by(user: str, reason: str) -> str:
    """What is told of mail that an administrator holds."""
    return f"{clean(reason)} (by {clean(user)})" if reason else f"by {clean(user)}"


def _finish(context: ControlContext, where: QueueFilter, *, bounce: bool) -> int:
    """Own the recipients first, so that no runner delivers what is being returned or dropped."""
    done = 0
    while leases := context.queue.take(where, context.clock.now(), _LEASE_SECONDS):
        begun = 0
        try:
            while begun < len(leases):
                done += _finish_some(context, leases[begun : begun + _SETTLED_AT_ONCE], bounce=bounce)
                begun += _SETTLED_AT_ONCE
        except MailboxError:
            for lease in leases[begun:]:  # back as they were, or nobody could act on them until the leases run out
                with suppress(MailboxError):
                    context.queue.release(lease)
            raise
    return done


def _finish_some(context: ControlContext, leases: Sequence[Lease], *, bounce: bool) -> int:
    """Record the end of these leases in one durable step; how many recipients."""
    now = context.clock.now()
    next_at = now + timedelta(seconds=_LEASE_SECONDS)
    settlements: list[Settlement] = []
    lost: Sequence[Lease] = ()
    try:
        for lease in leases:
            outcomes = _outcomes(lease, bounce=bounce)
            if bounce:  # the notification is durable before the recipients leave: a crash in between repeats it
                context.bounces.report(lease, outcomes, tried=False)
            settlements.append(Settlement(lease, outcomes, next_at))
    finally:  # whose sender has been told is gone, also when telling the next one failed
        if settlements:
            lost = context.queue.settle(settlements, now)
    tokens = {lease.token for lease in lost}
    ended = [each for each in settlements if each.lease.token not in tokens]
    for settlement in ended:
        _tell(context, settlement, bounce=bounce)
    return sum(len(settlement.outcomes) for settlement in ended)


def _tell(context: ControlContext, settlement: Settlement, *, bounce: bool) -> None:
    message, outcomes = settlement.lease.message, settlement.outcomes
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


def _outcomes(lease: Lease, *, bounce: bool) -> Sequence[Outcome]:
    text = RETURNED if bounce else DROPPED
    return [
        Outcome(recipient.address, Fate.FAILED, 554, "5.0.0", text) for recipient in lease.message.recipients
    ]  # fmt: skip


def _filters(chosen: Chosen) -> Sequence[QueueFilter]:
    """The queue's filters that mean exactly the chosen set: whole messages in batches, single recipients one by one."""
    if chosen.exact:
        return [QueueFilter(ids=(QueueId(queue_id),), recipient=address) for queue_id, address in chosen.recipients]
    ids = [QueueId(queue_id) for queue_id in chosen.by_message()]
    return [chosen.narrowed(ids[start : start + _ID_BATCH]) for start in range(0, len(ids), _ID_BATCH)]


def _effect(params: Plan, count: int, messages: int) -> str:
    recipients = "1 recipient" if count == 1 else f"{count} recipients"
    of = "1 message" if messages == 1 else f"{messages} messages"
    match params.action:
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
        case "route":
            way = f"the route {clean(params.route)}" if params.route else "the configured route again"
            return f"{recipients} of {of} sent by {way}, tried now unless held"


METHODS = (
    Method("queue.plan", Plan, Planned, plan, "What an action would do."),
    Method("queue.apply", Apply, Applied, apply, "Do what was planned.", changes=True),
)
