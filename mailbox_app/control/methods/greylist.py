"""Methods `greylist.*`: who was asked to come back and why, letting somebody in now, and who is never asked."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct

from mailbox_app.config.load import seconds
from mailbox_app.control.context import ControlContext
from mailbox_app.control.schema import Call, Count, Method, NoParams, Params
from mailbox_app.errors import MailboxError
from mailbox_app.policy.checks.sender_authentication import UNCHECKED_SECONDS
from mailbox_app.policy.state.allowances import KINDS, Allowance
from mailbox_app.policy.state.greylist import Waiting
from mailbox_app.proto.plain_text import clean


class WaitingPage(Params):
    """One page of those who wait."""

    offset: Count = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000
    text: Annotated[str, Meta(max_length=320)] = ""
    """Only those whose sender, recipient, client, origin or reason have it."""


class WaitingId(Params):
    """Which wait, by the number that the list shows."""

    greylist_id: Count


class NewAllowance(Params):
    """Whom never to keep waiting. Without a kind the value tells: network, sender (an address) or domain."""

    value: str
    kind: str = ""
    note: str = ""
    recipient: str = ""
    """An address or domain of ours that it holds for alone."""


class AllowanceKey(Params):
    """Which exemption."""

    value: str
    kind: str = ""
    recipient: str = ""


class WaitingView(Struct):
    """Somebody who was asked to come back."""

    greylist_id: int
    sender: str
    recipient: str
    remote_ip: str
    origin: str
    """What it is known by: `spf:` or `ptr:` and a domain, or a network; `dmarc:` and a network when DNS was ill."""
    reason: str
    """Why it waits."""
    first_at: datetime
    last_at: datetime
    attempts: int
    passes_at: datetime
    """An attempt of the same origin from then on is let in."""
    passes_at_latest: datetime
    """An attempt from anywhere from then on is let in."""


class WaitingList(Struct):
    """One page, the longest wait first; `total` counts all."""

    waiting: list[WaitingView]
    total: int


class AllowanceView(Struct):
    """One exemption."""

    kind: str
    value: str
    note: str
    created_at: datetime
    recipient: str
    """Whom it holds for alone; "": all."""


class AllowanceList(Struct):
    """All exemptions by kind and value."""

    allowed: list[AllowanceView]


async def list_waiting(context: ControlContext, _call: Call, params: WaitingPage) -> WaitingList:
    """Who waits."""
    rows, total = await context.offload.run(
        context.policy_state.greylist.waiting, params.limit, params.offset, params.text
    )
    return WaitingList([_waiting(context, row) for row in rows], total)


async def let_in(context: ControlContext, call: Call, params: WaitingId) -> WaitingView:
    """The next attempt is let in, and later ones like a known sender's."""
    call.object = str(params.greylist_id)
    found = await context.offload.run(context.policy_state.greylist.let_in, params.greylist_id)
    if found is None:
        raise MailboxError("greylist.unknown", f"nobody waits under number {params.greylist_id}", temporary=False)
    view = _waiting(context, found)
    call.object = f"{view.sender or '<>'} to {view.recipient}"
    return view


async def list_allowed(context: ControlContext, _call: Call, _params: NoParams) -> AllowanceList:
    """Who is never asked to come back."""
    return AllowanceList([_allowance(each) for each in await context.offload.run(context.policy_state.allowances.all)])


async def allow(context: ControlContext, call: Call, params: NewAllowance) -> AllowanceView:
    """Never keep this sender, domain, network or recipient waiting; holds at once in all processes."""
    kind = params.kind or kind_of(params.value)
    call.object = _named(kind, params.value, params.recipient)
    added = await context.offload.run(
        context.policy_state.allowances.add, kind, params.value, params.note, params.recipient
    )
    call.after = view = _allowance(added)
    return view


async def disallow(context: ControlContext, call: Call, params: AllowanceKey) -> AllowanceView:
    """End an exemption."""
    kind = params.kind or kind_of(params.value)
    call.object = _named(kind, params.value, params.recipient)
    removed = await context.offload.run(context.policy_state.allowances.remove, kind, params.value, params.recipient)
    if removed is None:
        raise MailboxError("greylist.unknown", f"the {call.object} is not exempt", temporary=False)
    call.before = view = _allowance(removed)
    return view


def kind_of(value: str) -> str:
    """What an administrator means by a value: a network, an address, else a domain. Recipients are named as such."""
    text = value.strip()
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return "sender" if text.partition("@")[0] and "@" in text else "domain"
    return "network"


def _waiting(context: ControlContext, row: Waiting) -> WaitingView:
    settings = context.config.greylist
    ceiling = seconds(settings.ceiling)
    delay = min(seconds(settings.min_delay), ceiling)
    if row.origin.startswith("dmarc:"):  # put off because DNS was ill, whatever greylisting does
        delay = ceiling = UNCHECKED_SECONDS
    return WaitingView(
        row.greylist_id,
        clean(row.sender),
        clean(row.recipient),
        row.remote_ip,
        clean(row.origin),
        clean(row.reason),
        _time(row.first_at_seconds),
        _time(row.last_at_seconds),
        row.attempts,
        _time(row.first_at_seconds + delay),
        _time(row.first_at_seconds + ceiling),
    )


def _allowance(each: Allowance) -> AllowanceView:
    return AllowanceView(
        each.kind, clean(each.value), clean(each.note), _time(each.created_at_seconds), clean(each.recipient)
    )


def _named(kind: str, value: str, recipient: str) -> str:
    return f"{kind} {clean(value)}" + (f" for {clean(recipient)}" if recipient else "")


def _time(at_seconds: float) -> datetime:
    return datetime.fromtimestamp(at_seconds, UTC)


METHODS = (
    Method("greylist.list", WaitingPage, WaitingList, list_waiting, "Who was asked to come back, and why."),
    Method("greylist.let_in", WaitingId, WaitingView, let_in, "End one wait now.", changes=True),
    Method("greylist.allowed", NoParams, AllowanceList, list_allowed, "Who is never asked to come back."),
    Method("greylist.allow", NewAllowance, AllowanceView, allow, f"Exempt a {', '.join(KINDS)}.", changes=True),
    Method("greylist.disallow", AllowanceKey, AllowanceView, disallow, "End an exemption.", changes=True),
)
