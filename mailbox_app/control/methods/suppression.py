"""Methods `suppression.*`: outside addresses that nothing is sent to any more."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct

from mailbox_app.control.context import ControlContext
from mailbox_app.control.schema import Call, Method, NoParams, Params
from mailbox_app.errors import AccountError
from mailbox_app.policy.state.suppressions import Suppression
from mailbox_app.proto.plain_text import clean

_SHOWN = 1_000


class Address(Params):
    """One outside address."""

    address: Annotated[str, Meta(min_length=3, max_length=320)]
    reason: Annotated[str, Meta(max_length=200)] = ""


class SuppressionView(Struct):
    """One entry; `days` is 0 for an operator's own."""

    address: str
    days: int
    last_at: datetime
    text: str


class SuppressionList(Struct):
    """The latest thousand."""

    suppressions: list[SuppressionView]


async def list_all(context: ControlContext, _call: Call, _params: NoParams) -> SuppressionList:
    """Those that hold now."""
    found = await context.offload.run(context.policy_state.suppressions.all, _SHOWN)
    return SuppressionList([_view(each) for each in found])


async def add(context: ControlContext, call: Call, params: Address) -> SuppressionView:
    """Send nothing there any more."""
    call.object = params.address
    local, at, domain = params.address.rpartition("@")
    if not (local and at and domain) or any(character.isspace() for character in params.address):
        raise AccountError("account.bad_address", f"{clean(params.address, 100)} is not an address")
    text = params.reason or f"suppressed by {call.user}"
    call.after = view = _view(await context.offload.run(context.policy_state.suppressions.add, params.address, text))
    return view


async def remove(context: ControlContext, call: Call, params: Address) -> SuppressionView:
    """Send there again."""
    call.object = params.address
    found = await context.offload.run(context.policy_state.suppressions.remove, params.address)
    if found is None:
        raise AccountError("account.no_such_address", f"{clean(params.address, 100)} is not suppressed")
    call.before = view = _view(found)
    return view


def _view(found: Suppression) -> SuppressionView:
    at = datetime.fromtimestamp(int(found.last_at_seconds), UTC)
    return SuppressionView(clean(found.address), found.days, at, clean(found.text))


METHODS = (
    Method("suppression.list", NoParams, SuppressionList, list_all, "Addresses that nothing is sent to."),
    Method("suppression.add", Address, SuppressionView, add, "Send nothing there.", changes=True),
    Method("suppression.remove", Address, SuppressionView, remove, "Send there again.", changes=True),
)
