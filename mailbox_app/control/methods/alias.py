"""Methods `alias.*`: addresses that stand for others, here or outside, and lists; `@domain` is the catch-all."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct, field

from mailbox_app.accounts.alias_rules import AliasSettings
from mailbox_app.accounts.model import Alias, AliasKind, Post
from mailbox_app.control.context import ControlContext
from mailbox_app.control.methods.user import OfDomain
from mailbox_app.control.schema import Call, Count, Method, Params
from mailbox_app.errors import AccountError
from mailbox_app.events.hints import DIRECTORY_TOPIC
from mailbox_app.proto.plain_text import clean


class AliasWords(Params):
    """What can be said of an alias besides its targets; null: as it is, or a new one's default."""

    kind: AliasKind | None = None
    """`alias` or `list`; a list checks who posts, names itself in the header and takes its bounces."""
    post: Post | None = None
    """Who may post to a list: `anyone`, `members`, `posters` or `domain`. A new list: `members`."""
    posters: list[str] | None = None
    """Who, with `posters`."""
    owner: str | None = None
    """Who gets a list's bounces; empty: the domain's postmaster."""
    max_bytes: Count | None = None
    """A list's largest message; 0: the server's limit."""
    description: str | None = None
    enabled: bool | None = None
    """False: mail is refused."""
    members_may_send: bool | None = None
    """Whether who gets its mail may send as it. A new alias: yes; a new list: no."""

    def settings(self) -> AliasSettings:
        """For the directory."""
        return AliasSettings(
            self.kind,
            self.description,
            self.enabled,
            self.members_may_send,
            self.post,
            self.posters,
            self.owner,
            self.max_bytes,
        )


class NewAlias(AliasWords, kw_only=True):
    """An alias and where it leads."""

    address: str
    targets: list[str]


class ChangedAlias(AliasWords, kw_only=True):
    """An alias that is there; without targets they stay as they are."""

    address: str
    targets: list[str] = field(default_factory=list)


class AliasAddress(Params):
    """Which alias."""

    address: str


class AliasView(Struct):
    """One alias."""

    address: str
    targets: list[str]
    created_at: datetime
    kind: str = "alias"
    description: str = ""
    enabled: bool = True
    members_may_send: bool = True
    post: str = "anyone"
    posters: list[str] = field(default_factory=list)
    owner: str = ""
    max_bytes: int = 0


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
        return _view(context.directory.add_alias(params.address, params.targets, params.settings()))

    return _changed(context, call, await context.offload.run(run))


async def update(context: ControlContext, call: Call, params: ChangedAlias) -> AliasView:
    """Change an alias; what is not named stays."""
    call.object = params.address

    def run() -> AliasView:
        call.before = _view(context.directory.alias(params.address))
        return _view(context.directory.update_alias(params.address, params.targets, params.settings()))

    return _changed(context, call, await context.offload.run(run))


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


def _changed(context: ControlContext, call: Call, view: AliasView) -> AliasView:
    context.bus.publish(DIRECTORY_TOPIC)
    call.object, call.after = view.address, view
    return view


def _view(alias: Alias) -> AliasView:
    return AliasView(
        alias.address,
        [clean(target) for target in alias.targets],
        alias.created_at,
        alias.kind.value,
        clean(alias.description),
        alias.enabled,
        alias.members_may_send,
        alias.post.value,
        [clean(poster) for poster in alias.posters],
        clean(alias.owner),
        alias.max_bytes,
    )


METHODS = (
    Method("alias.add", NewAlias, AliasView, add, "An alias or list, or new targets for one.", changes=True),
    Method("alias.update", ChangedAlias, AliasView, update, "Change an alias or list.", changes=True),
    Method("alias.list", OfDomain, Aliases, list_all, "All aliases."),
    Method("alias.show", AliasAddress, AliasView, show, "One alias."),
    Method("alias.remove", AliasAddress, AliasView, remove, "Drop an alias.", changes=True),
)
