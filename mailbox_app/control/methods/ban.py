"""Methods `ban.*`: who may not connect for now, by any protocol. They come over the control socket, which no ban ever closes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct

from mailbox_app.control.context import ControlContext
from mailbox_app.control.schema import Call, Count, Method, Params
from mailbox_app.errors import MailboxError
from mailbox_app.policy.settings import Settings
from mailbox_app.policy.state.bans import Ban, canonical_network
from mailbox_app.proto.plain_text import clean

_MAX_SECONDS = 10 * 366 * 86_400


class BanPage(Params):
    """One page of bans."""

    offset: Count = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000
    text: Annotated[str, Meta(max_length=320)] = ""
    """Only those whose network, source or reason have it."""


class NewBan(Params):
    """Whom to keep out, why, and for how long; 0 seconds: until it is removed."""

    network: str
    reason: str = ""
    seconds: Annotated[int, Meta(ge=0, le=_MAX_SECONDS)] = 0


class BanKey(Params):
    """Which ban."""

    network: str


class BanView(Struct):
    """One ban."""

    network: str
    source: str
    """operator; policy: made for what the client did; login: for guessing passwords."""
    reason: str
    made_at: datetime
    expires_at: datetime | None
    """None: it holds until it is removed."""
    without_effect: bool
    """The network is on the allow list or trusted, which always wins."""


class BanList(Struct):
    """One page of bans, newest first; `total` counts all."""

    bans: list[BanView]
    total: int


async def list_all(context: ControlContext, _call: Call, params: BanPage) -> BanList:
    """The bans in force."""
    found = await context.offload.run(context.policy_state.bans.all)
    if text := params.text.lower():
        found = [each for each in found if text in f"{each.network} {each.source} {each.reason}".lower()]
    page = found[params.offset : params.offset + params.limit]
    return BanList([_view(context, ban) for ban in page], len(found))


async def add(context: ControlContext, call: Call, params: NewBan) -> BanView:
    """Keep a network out: in all processes within a second. Sessions that are open go on."""
    network = _network(params.network)
    call.object = network
    now = context.clock.epoch_seconds()
    expires = now + params.seconds if params.seconds else 0.0
    ban = Ban(network, "operator", clean(params.reason, 300) or "banned by an administrator", now, expires)
    await context.offload.run(context.policy_state.bans.add, ban)
    call.after = view = _view(context, ban)
    return view


async def remove(context: ControlContext, call: Call, params: BanKey) -> BanView:
    """Let a network in again."""
    network = _network(params.network)
    call.object = network
    removed = await context.offload.run(context.policy_state.bans.remove, network)
    if removed is None:
        raise MailboxError("ban.unknown", f"{network} is not banned")
    call.before = view = _view(context, removed)
    return view


def _network(text: str) -> str:
    try:
        return canonical_network(text)
    except ValueError as error:
        raise MailboxError("ban.invalid", f"{clean(text, 100)} is neither an address nor a network") from error


def _view(context: ControlContext, ban: Ban) -> BanView:
    return BanView(
        ban.network,
        ban.source,
        clean(ban.reason),
        datetime.fromtimestamp(ban.made_at_seconds, UTC),
        datetime.fromtimestamp(ban.expires_at_seconds, UTC) if ban.expires_at_seconds else None,
        Settings(context.config.policy).is_exempt(ban.network.partition("/")[0]),
    )


METHODS = (
    Method("ban.list", BanPage, BanList, list_all, "Who may not connect."),
    Method("ban.add", NewBan, BanView, add, "Keep a network out.", changes=True),
    Method("ban.remove", BanKey, BanView, remove, "Let a network in again.", changes=True),
)
