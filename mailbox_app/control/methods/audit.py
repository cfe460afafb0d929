"""Methods `audit.*`: who changed what, and whether the chain still holds."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from msgspec import Meta, Struct

from mailbox_app.control.context import ControlContext
from mailbox_app.control.schema import Call, Count, Method, NoParams, Params
from mailbox_app.errors import ControlError
from mailbox_app.journal.audit import AuditFilter, Entry
from mailbox_app.proto.plain_text import clean


class Which(Params):
    """Which entries, newest first; all given conditions hold."""

    offset: Count = 0
    limit: Annotated[int, Meta(ge=1, le=500)] = 100
    who: str = ""
    what: str = ""
    since_seconds: Annotated[float, Meta(ge=0)] | None = None
    """Only entries of the last so many seconds."""
    text: str = ""


class Number(Params):
    """Which entry."""

    no: Count


class EntryView(Struct):
    """One change."""

    no: int
    at: datetime
    who: str
    uid: int
    via: str
    what: str
    object: str
    detail: str
    before: str
    after: str
    result: str


class Entries(Struct):
    """One page."""

    total: int
    entries: list[EntryView]


class Verified(Struct):
    """`broken_at` is the first entry that is not what was written."""

    ok: bool
    count: int
    broken_at: int | None


async def list_all(context: ControlContext, _call: Call, params: Which) -> Entries:
    """One page of entries."""
    since_at = None
    if params.since_seconds is not None:
        since_at = context.clock.now() - timedelta(seconds=min(params.since_seconds, 3e9))
    where = AuditFilter(params.who, params.what, since_at, params.text)
    total, entries = await context.offload.run(context.audit.list, where, params.offset, params.limit)
    return Entries(total, [_view(entry) for entry in entries])


async def show(context: ControlContext, _call: Call, params: Number) -> EntryView:
    """One entry."""
    entry = await context.offload.run(context.audit.entry, params.no)
    if entry is None:
        raise ControlError("audit.no_such_entry", f"there is no audit entry {params.no}")
    return _view(entry)


async def verify(context: ControlContext, _call: Call, _params: NoParams) -> Verified:
    """Check the whole chain."""
    found = await context.offload.run(context.audit.verify)
    return Verified(found.broken_at is None, found.count, found.broken_at)


def _view(entry: Entry) -> EntryView:
    change = entry.change
    return EntryView(
        entry.no, entry.at, clean(change.who), change.uid, clean(change.via), change.what, clean(change.object),
        clean(change.detail), clean(change.before, 20_000), clean(change.after, 20_000), clean(change.result),
    )  # fmt: skip


METHODS = (
    Method("audit.list", Which, Entries, list_all, "Changes, newest first."),
    Method("audit.show", Number, EntryView, show, "One change."),
    Method("audit.verify", NoParams, Verified, verify, "Check the hash chain."),
)
