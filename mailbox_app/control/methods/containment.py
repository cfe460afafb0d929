"""Methods `user.suspend` and `user.resume`: an account that sends what it should not is stopped whole, in one step."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from mailbox_app.accounts.model import AccountState
from mailbox_app.control.context import ControlContext
from mailbox_app.control.methods.queue_rules import hold_by_rule
from mailbox_app.control.schema import Call, Method, Params
from mailbox_app.events.hints import DIRECTORY_TOPIC, QUEUE_TOPIC
from mailbox_app.mailqueue.hold_rules import accounts_held
from mailbox_app.mailqueue.model import HoldRule, QueueFilter, RecipientState


class Suspend(Params):
    """Whom, and why."""

    address: str
    reason: Annotated[str, Meta(max_length=200)] = ""


class Resume(Params):
    """Whom; `release`: what was held goes out."""

    address: str
    release: bool = False


class Suspended(Struct):
    """The account, and how many recipients of its waiting mail were held or released."""

    address: str
    recipients: int


async def suspend(context: ControlContext, call: Call, params: Suspend) -> Suspended:
    """No login, nothing of it leaves: what waits is held, what still comes is held from the start."""
    call.object = params.address

    def run() -> Suspended:
        account = context.directory.existing(params.address)
        reason = f"suspended{f': {params.reason}' if params.reason else f' by {call.user}'}"
        context.directory.set_state(account.address, AccountState.DISABLED)
        rule = HoldRule(0, submitter=account.address, reason=reason)
        before = dict(accounts_held(context.queue.rules())).get(account.address)
        if before is not None and not before.is_brake:  # asked for twice: one rule is enough
            return Suspended(account.address, context.queue.hold(QueueFilter(submitter=account.address), reason))
        _, held = hold_by_rule(context, rule)
        return Suspended(account.address, held)

    call.after = done = await context.offload.run(run)
    context.bus.publish(DIRECTORY_TOPIC)
    return done


async def resume(context: ControlContext, call: Call, params: Resume) -> Suspended:
    """Let it log in and send again; brakes on it are released as well."""
    call.object = params.address

    def run() -> Suspended:
        account = context.directory.existing(params.address)
        context.directory.set_state(account.address, AccountState.ACTIVE)
        for rule in context.queue.rules():
            if rule.submitter == account.address and not (rule.sender or rule.recipient):
                context.queue.remove_rule(rule.number)
        where = QueueFilter(submitter=account.address, state=RecipientState.HELD)
        released = context.queue.unhold(where, context.clock.now()) if params.release else 0
        return Suspended(account.address, released)

    call.after = done = await context.offload.run(run)
    context.bus.publish(DIRECTORY_TOPIC)
    context.bus.publish(QUEUE_TOPIC)
    return done


METHODS = (
    Method("user.suspend", Suspend, Suspended, suspend, "Stop an account and hold its mail.", changes=True),
    Method("user.resume", Resume, Suspended, resume, "Let a suspended account go on.", changes=True),
)
