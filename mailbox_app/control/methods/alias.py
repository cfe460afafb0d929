"""Methods `alias.*`: addresses that stand for others, here or outside; `@domain` is the catch-all."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from mailbox_app.accounts.model import Alias
from mailbox_app.control.context import ControlContext
from mailbox_app.control.methods.user import OfDomain
from mailbox_app.control.schema import Call, Method, Params
from mailbox_app.errors import AccountError
from mailbox_app.events.hints import DIRECTORY_TOPIC
from mailbox_app.proto.plain_text import clean


class NewAlias(Params):
    """An alias and where it leads."""

    address: str
    targets: list[str]


class AliasAddress(Params):
    """Which alias."""

    address: str


class AliasView(Struct):
    """One alias."""

    address: str
    targets: list[str]
    created_at: datetime


class Aliases(Struct):
    """One page of aliases by domain and address; `total` counts all."""

    aliases: list[AliasView]
    total: int


async def add(context: ControlContext, call: Call, params: NewAlias) -> AliasView:
    """A new alias; one that is there leads to these targets from now on."""
    call.object = params.address

    def run() -> AliasView:
        try:
            call.before = _view(context.directory.alias(params.address))
        except AccountError:
            call.before = None
        return _view(context.directory.add_alias(params.address, params.targets))

    call.after = view = await context.offload.run(run)
    context.bus.publish(DIRECTORY_TOPIC)
    call.object = view.address
    return view


async def list_all(context: ControlContext, _call: Call, params: OfDomain) -> Aliases:
    """All aliases, or those of one domain."""
    found = await context.offload.run(context.directory.aliases, params.domain or None)
    page = found[params.offset : params.offset + params.limit]
    return Aliases([_view(alias) for alias in page], len(found))


async def show(context: ControlContext, _call: Call, params: AliasAddress) -> AliasView:
    """One alias."""
    return _view(await context.offload.run(context.directory.alias, params.address))


async def remove(context: ControlContext, call: Call, params: AliasAddress) -> AliasView:
    """Mail for the address is refused from now on."""
    call.object = params.address
    call.before = view = _view(await context.offload.run(context.directory.remove_alias, params.address))
    context.bus.publish(DIRECTORY_TOPIC)
    call.object = view.address
    return view


def _view(alias: Alias) -> AliasView:
    return AliasView(alias.address, [clean(target) for target in alias.targets], alias.created_at)


METHODS = (
    Method("alias.add", NewAlias, AliasView, add, "An alias, or new targets for one.", changes=True),
    Method("alias.list", OfDomain, Aliases, list_all, "All aliases."),
    Method("alias.show", AliasAddress, AliasView, show, "One alias."),
    Method("alias.remove", AliasAddress, AliasView, remove, "Drop an alias.", changes=True),
)
