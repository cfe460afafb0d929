"""What can be subscribed: each topic gives its whole state; the session sends only what changed in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from msgspec import Struct

from mailbox_app.control.context import ControlContext
from mailbox_app.control.methods import policy, queued_mail, trace, user, user_mail
from mailbox_app.control.methods.queue_rows import Window
from mailbox_app.control.schema import NoParams
from mailbox_app.control.views import HealthView, TrafficHistory


class AuditState(Struct):
    """The topic `audit`."""

    count: int
    last_no: int
    verified_to: int


@dataclass(frozen=True, slots=True)
class Topic:
    """Its arguments' type, and how its state is got."""

    args: type[Struct]
    state: Callable[..., Awaitable[Struct]]


def topics(context: ControlContext, consoles: Callable[[], int]) -> Mapping[str, Topic]:
    """All topics by name."""
    history = TrafficHistory(context.decisions)
    spam_numbers = policy.SpamNumbers(context)
    health_view = HealthView(context, spam_numbers)

    async def health(_args: NoParams) -> Struct:
        return await context.offload.run(health_view.look, consoles())

    async def traffic(_args: NoParams) -> Struct:
        return await context.offload.run(history.look, context.clock.now())

    async def queue_window(args: Window) -> Struct:
        return await queued_mail.list_window(context, None, args)

    async def audit(_args: NoParams) -> Struct:
        number = await context.offload.run(context.audit.head)
        return AuditState(number, number, context.audit.verified_to)

    async def user_window(args: user.WantedUsers) -> Struct:
        return await user.list_all(context, None, args)

    async def account(args: user.UserAddress) -> Struct:
        return await user_mail.numbers(context, args)

    async def log(args: trace.Conditions) -> Struct:
        return await trace.log(context, args)

    async def spam(_args: NoParams) -> Struct:
        return await context.offload.run(spam_numbers.look)

    return {
        "health": Topic(NoParams, health),
        "traffic": Topic(NoParams, traffic),
        "queue.window": Topic(Window, queue_window),
        "audit": Topic(NoParams, audit),
        "user.window": Topic(user.WantedUsers, user_window),
        "account": Topic(user.UserAddress, account),
        "log": Topic(trace.Conditions, log),
        "spam": Topic(NoParams, spam),
    }
