"""Methods `dkim.*`: signing keys of domains. Private keys never leave the process."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from mailbox_app.accounts import dkim_keys
from mailbox_app.accounts.model import DkimKey
from mailbox_app.control.context import ControlContext
from mailbox_app.control.methods.domain import Records, dkim_records
from mailbox_app.control.schema import Call, Method, Params
from mailbox_app.events.hints import DIRECTORY_TOPIC


class NewKey(Params):
    """A key to make. An empty selector becomes the month and the algorithm, like r202611."""

    domain: str
    selector: str = ""
    algorithm: Literal["rsa", "ed25519"] = "rsa"


class KeysOf(Params):
    """Whose keys."""

    domain: str


class WhichKey(Params):
    """One key."""

    domain: str
    selector: str


class KeyView(Struct):
    """One key with the record that publishes it."""

    domain: str
    selector: str
    algorithm: str
    record_name: str
    record_value: str
    created_at: datetime
    active: bool


class Keys(Struct):
    """Keys by selector."""

    keys: list[KeyView]


async def generate(context: ControlContext, call: Call, params: NewKey) -> KeyView:
    """A new key; mail is signed with it from now on, so publish its record."""
    call.object = f"{params.selector or '*'}._domainkey.{params.domain}"

    def run() -> KeyView:
        domain = context.directory.domain(params.domain)
        key = dkim_keys.generate(domain.name, params.selector, params.algorithm, context.clock.now())
        context.directory.add_dkim_key(key)
        return _view(key)

    call.after = view = await context.offload.run(run)
    context.bus.publish(DIRECTORY_TOPIC)
    call.object = view.record_name
    return view


async def list_all(context: ControlContext, _call: Call, params: KeysOf) -> Keys:
    """All keys of a domain, retired ones too."""
    return Keys([_view(key) for key in await _keys(context, params.domain)])


async def dns(context: ControlContext, _call: Call, params: KeysOf) -> Records:
    """The records that publish a domain's keys."""
    return Records(dkim_records(await _keys(context, params.domain)))


async def retire(context: ControlContext, call: Call, params: WhichKey) -> KeyView:
    """The key signs no more; keep its record until signed mail has arrived."""
    call.object = f"{params.selector}._domainkey.{params.domain}"
    view = _view(await context.offload.run(context.directory.retire_dkim_key, params.domain, params.selector))
    context.bus.publish(DIRECTORY_TOPIC)
    call.object, call.before, call.after = view.record_name, {"active": True}, {"active": False}
    return view


async def _keys(context: ControlContext, domain: str) -> list[DkimKey]:
    found = await context.offload.run(context.directory.domain, domain)
    return list(await context.offload.run(context.directory.all_dkim_keys, found.name))


def _view(key: DkimKey) -> KeyView:
    return KeyView(
        key.domain, key.selector, key.algorithm, f"{key.selector}._domainkey.{key.domain}.", key.public_txt,
        key.created_at, key.active,
    )  # fmt: skip


METHODS = (
    Method("dkim.generate", NewKey, KeyView, generate, "A new signing key.", changes=True),
    Method("dkim.list", KeysOf, Keys, list_all, "The keys of a domain."),
    Method("dkim.dns", KeysOf, Records, dns, "The records that publish a domain's keys."),
    Method("dkim.retire", WhichKey, KeyView, retire, "Stop signing with a key.", changes=True),
)
