"""Methods `queue.rules`, `queue.add_rule`, `queue.remove_rule`, `queue.pauses`, `queue.pause`, `queue.resume`.

A rule holds new mail from the start; with `waiting` also what is in the queue already, so that one call contains an account.
A pause stops delivery to a domain, or all delivery, without touching any message. All changes are audited.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from mailbox_app.accounts.addresses import canonical_domain
from mailbox_app.control.context import ControlContext
from mailbox_app.control.methods.queue_acts import held_by
from mailbox_app.control.methods.spans import whole_seconds
from mailbox_app.control.schema import Call, Count, Method, NoParams, Params
from mailbox_app.errors import QueueError
from mailbox_app.events.hints import QUEUE_TOPIC
from mailbox_app.mailqueue.model import HoldRule, Pause, QueueFilter, RecipientState
from mailbox_app.proto.plain_text import clean

Pattern = Annotated[str, Meta(max_length=320)]
Reason = Annotated[str, Meta(max_length=300)]


class NewRule(Params, rename={"sender": "from", "recipient": "to"}):
    """What new mail to hold: all given conditions hold. An address, `@domain`, or `<>` for bounces as the sender."""

    sender: Pattern = ""
    recipient: Pattern = ""
    submitter: Pattern = ""
    reason: Reason = ""
    waiting: bool = False
    """Hold also what waits already and matches."""


class RuleNumber(Params):
    """Which rule."""

    number: Count
    release: bool = False
    """Release also what is held and matches."""


class RuleView(Struct, rename={"sender": "from", "recipient": "to"}):
    """One rule."""

    number: int
    sender: str
    recipient: str
    submitter: str
    reason: str
    made_at: datetime | None
    changed: int = 0
    """Recipients that were held or released with it."""


class RuleList(Struct):
    """All rules, the oldest first."""

    rules: list[RuleView]


class NewPause(Params):
    """Where to pause; without a domain everywhere."""

    domain: Annotated[str, Meta(max_length=255)] = ""
    reason: Reason = ""


class Resumed(Params):
    """Where to go on; without a domain the pause of the whole queue ends."""

    domain: Annotated[str, Meta(max_length=255)] = ""


class PauseView(Struct):
    """One pause; an empty domain is the whole queue."""

    domain: str
    reason: str
    made_at: datetime


class PauseList(Struct):
    """All pauses, that of the whole queue first."""

    pauses: list[PauseView]


async def list_rules(context: ControlContext, _call: Call, _params: NoParams) -> RuleList:
    """All hold rules."""
    return RuleList([_rule_view(rule) for rule in await context.offload.run(context.queue.rules)])


async def add_rule(context: ControlContext, call: Call, params: NewRule) -> RuleView:
    """Hold new mail from now on."""
    call.object = _named(params.sender, params.recipient, params.submitter)
    rule = _checked(params, call.user)
    added, held = await context.offload.run(hold_by_rule, context, rule, params.waiting)
    call.after = view = _rule_view(added, held)
    call.object = f"hold rule {added.number}: {call.object}"
    return view


def hold_by_rule(context: ControlContext, rule: HoldRule, waiting: bool = True) -> tuple[HoldRule, int]:
    """Add the rule, then hold what waits already, in this order so that nothing slips between; how many. Synchronous."""
    added = context.queue.add_rule(rule)
    held = context.queue.hold(_where(rule), rule.reason) if waiting else 0
    context.bus.publish(QUEUE_TOPIC)
    return added, held


async def remove_rule(context: ControlContext, call: Call, params: RuleNumber) -> RuleView:
    """Hold no more by this rule; what it held stays held unless `release` is given."""
    call.object = f"hold rule {params.number}"
    removed, released = await context.offload.run(_remove_rule, context, params)
    call.before = view = _rule_view(removed, released)
    call.object += ": " + _named(removed.sender, removed.recipient, removed.submitter)
    return view


def _remove_rule(context: ControlContext, params: RuleNumber) -> tuple[HoldRule, int]:
    removed = context.queue.remove_rule(params.number)
    if not params.release:
        return removed, 0
    released = context.queue.unhold(_where(removed, RecipientState.HELD), context.clock.now())
    context.bus.publish(QUEUE_TOPIC)
    return removed, released


async def list_pauses(context: ControlContext, _call: Call, _params: NoParams) -> PauseList:
    """Where delivery is paused."""
    return PauseList([_pause_view(pause) for pause in await context.offload.run(context.queue.pauses)])


async def pause(context: ControlContext, call: Call, params: NewPause) -> PauseView:
    """Deliver nothing there until it is resumed; what is under way is finished, new mail is taken in."""
    call.object = params.domain or "the whole queue"
    new = Pause(_domain(params.domain), held_by(call.user, params.reason), context.clock.now())
    await context.offload.run(context.queue.pause, new)
    context.bus.publish(QUEUE_TOPIC)
    call.after = view = _pause_view(new)
    return view


async def resume(context: ControlContext, call: Call, params: Resumed) -> PauseView:
    """Deliver again."""
    call.object = params.domain or "the whole queue"
    ended = await context.offload.run(context.queue.resume, _domain(params.domain), context.clock.now())
    context.bus.publish(QUEUE_TOPIC)
    call.before = view = _pause_view(ended)
    return view


def _checked(params: NewRule, user: str) -> HoldRule:
    patterns = {"from": params.sender, "to": params.recipient, "submitter": params.submitter}
    if not any(patterns.values()):
        raise QueueError(
            "queue.no_condition",
            "a hold rule needs a condition",
            fields={"remedy": "Say from, to or submitter; to hold back all mail pause the queue."},
        )
    for name, pattern in patterns.items():
        if pattern and not (name == "from" and pattern == "<>") and not _is_pattern(pattern):
            raise QueueError("queue.bad_pattern", f"{clean(pattern, 100)} is neither an address nor @domain")
    return HoldRule(0, params.sender, params.recipient, params.submitter, held_by(user, params.reason))


def _is_pattern(text: str) -> bool:
    _, at, domain = text.rpartition("@")
    return bool(at and domain) and not any(each.isspace() or not each.isprintable() for each in text)


def _where(rule: HoldRule, state: RecipientState | None = None) -> QueueFilter:
    return QueueFilter(sender=rule.sender, recipient=rule.recipient, submitter=rule.submitter, state=state)


def _domain(text: str) -> str:
    domain = canonical_domain(text.removeprefix("@"))
    if text and (not domain or any(each.isspace() or each in "@/" or not each.isprintable() for each in domain)):
        raise QueueError("queue.bad_domain", f"{clean(text, 100)} is no domain")
    return domain


def _named(sender: str, recipient: str, submitter: str) -> str:
    parts = (("from", sender), ("to", recipient), ("submitted by", submitter))
    return ", ".join(f"{name} {clean(value)}" for name, value in parts if value)


def _rule_view(rule: HoldRule, changed: int = 0) -> RuleView:
    return RuleView(
        rule.number, clean(rule.sender), clean(rule.recipient), clean(rule.submitter), clean(rule.reason),
        None if rule.made_at is None else whole_seconds(rule.made_at), changed,
    )  # fmt: skip


def _pause_view(pause: Pause) -> PauseView:
    return PauseView(clean(pause.destination), clean(pause.reason), whole_seconds(pause.made_at))


METHODS = (
    Method("queue.rules", NoParams, RuleList, list_rules, "What new mail is held from the start."),
    Method("queue.add_rule", NewRule, RuleView, add_rule, "Hold new mail.", changes=True),
    Method("queue.remove_rule", RuleNumber, RuleView, remove_rule, "End a hold rule.", changes=True),
    Method("queue.pauses", NoParams, PauseList, list_pauses, "Where delivery is paused."),
    Method("queue.pause", NewPause, PauseView, pause, "Deliver nothing to a domain, or nothing at all.", changes=True),
    Method("queue.resume", Resumed, PauseView, resume, "Deliver again.", changes=True),
)
