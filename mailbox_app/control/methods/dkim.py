"""Methods `dkim.*`: signing keys of domains. Private keys never leave the process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct, field

from mailbox_app.accounts import dkim_keys
from mailbox_app.accounts.model import DkimKey, KeyState
from mailbox_app.control.context import ControlContext
from mailbox_app.control.methods.domain import Records, dkim_records
from mailbox_app.control.schema import Call, Method, Params
from mailbox_app.events.hints import DIRECTORY_TOPIC
from mailbox_app.outbound.key_rotation import RETIRING
from mailbox_app.proto.plain_text import clean


class NewKey(Params):
    """A key to make. An empty selector becomes the month and the algorithm, like r202611."""

    domain: str
    selector: str = ""
    algorithm: Literal["rsa", "ed25519"] = "rsa"


class KeysOf(Params):
    """Whose keys."""

    domain: str


class KeysWanted(Params):
    """Whose keys; those of all domains when none is named."""

    domain: str = ""


class Rotate(Params):
    """Whose keys follow: for these algorithms, for those in use when none is named."""

    domain: str
    algorithms: list[Literal["rsa", "ed25519"]] = field(default_factory=list)


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
    state: str
    """prepared, active, retiring or retired."""
    next: str
    """What happens to it next, in a sentence."""
    published_at: datetime | None = None


class Keys(Struct):
    """Keys by selector."""

    keys: list[KeyView]


class CheckedKey(Struct):
    """A key and what the name servers say about its record."""

    selector: str
    algorithm: str
    state: str
    record_name: str
    record_value: str
    seen: str
    """yes, no, partly, wrong, unknown."""
    sentence: str
    servers: list[tuple[str, bool | None]]
    """Each name server, and whether it has a record there; null: it did not answer."""
    next: str


class Checked(Struct):
    """All keys that sign or shall sign; `ok` when each record is where it should be."""

    ok: bool
    keys: list[CheckedKey]


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


async def rotate(context: ControlContext, call: Call, params: Rotate) -> Keys:
    """Keys that follow those in use: they sign once their records are seen at every name server."""
    domain = (await context.offload.run(context.directory.domain, params.domain)).name
    call.object = domain
    active = await context.offload.run(context.directory.dkim_keys, domain)
    used = sorted({key.algorithm for key in active})
    algorithms: Sequence[str] = params.algorithms or used or dkim_keys.ALGORITHMS
    made = Keys([_view(key) for key in await context.key_rotation.rotate(domain, algorithms)])
    call.after = [key.record_name for key in made.keys]
    context.bus.publish(DIRECTORY_TOPIC)
    return made


async def check(context: ControlContext, _call: Call, params: KeysOf) -> Checked:
    """What every name server of the domain says about the records, now."""
    keys = [key for key in await _keys(context, params.domain) if key.state in (KeyState.PREPARED, KeyState.ACTIVE)]
    found = await asyncio.gather(*(context.key_rotation.publication(key) for key in keys))
    checked = [
        CheckedKey(
            key.selector, key.algorithm, key.state, _record_name(key), key.public_txt, each.seen, clean(each.sentence),
            [(clean(answer.server), None if answer.records is None else bool(answer.records)) for answer in each.servers],
            _next(key),
        )
        for key, each in zip(keys, found, strict=True)
    ]  # fmt: skip
    return Checked(bool(keys) and all(each.seen == "yes" for each in found), checked)


async def list_all(context: ControlContext, _call: Call, params: KeysWanted) -> Keys:
    """All keys of a domain or of all, retired ones too."""
    if params.domain:
        return Keys([_view(key) for key in await _keys(context, params.domain)])

    def every() -> list[DkimKey]:
        names = sorted(domain.name for domain in context.directory.domains())
        return [key for name in names for key in context.directory.all_dkim_keys(name)]

    return Keys([_view(key) for key in await context.offload.run(every)])


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
        key.domain, key.selector, key.algorithm, _record_name(key), key.public_txt, key.created_at, key.active, key.state,
        _next(key), key.published_at,
    )  # fmt: skip


def _record_name(key: DkimKey) -> str:
    return f"{key.selector}._domainkey.{key.domain}."


def _next(key: DkimKey) -> str:
    match key.state:
        case KeyState.PREPARED if key.published_at is None:
            return "publish its record; it signs when every name server has had it long enough"
        case KeyState.PREPARED:
            return "its record is published; it signs when no resolver can remember its absence"
        case KeyState.ACTIVE:
            return "signs until another one takes its place"
        case KeyState.RETIRING:
            end = (key.changed_at or key.created_at) + RETIRING
            return f"signs no more; keep its record until {end:%Y-%m-%d}"
        case _:
            return "its record may be removed"


METHODS = (
    Method("dkim.generate", NewKey, KeyView, generate, "A new signing key.", changes=True),
    Method("dkim.list", KeysWanted, Keys, list_all, "The keys of a domain, or of all."),
    Method("dkim.dns", KeysOf, Records, dns, "The records that publish a domain's keys."),
    Method("dkim.rotate", Rotate, Keys, rotate, "Prepare the keys that follow.", changes=True),
    Method("dkim.check", KeysOf, Checked, check, "What the name servers say about the records."),
    Method("dkim.retire", WhichKey, KeyView, retire, "Stop signing with a key.", changes=True),
)
