"""Methods `rejects.*`: what was refused by its score and is kept for one account, and putting it into the inbox after all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct, field

from mailbox_app.control.context import ControlContext
from mailbox_app.control.schema import Call, Count, Method, Params
from mailbox_app.errors import MailboxError
from mailbox_app.ids import MailboxId, Uid
from mailbox_app.proto.header import Header, decode_words, header_end
from mailbox_app.proto.plain_text import clean
from mailbox_app.store.interface import Account

_HEADER_BYTES = 65_536
_MAX_UIDS = 1_000


class RejectsPage(Params):
    """One page of an account's Rejects."""

    address: str
    offset: Count = 0
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class RejectsChoice(Params):
    """Messages by the numbers that the list tells."""

    address: str
    uidvalidity: Count
    uids: Annotated[list[Count], Meta(min_length=1, max_length=_MAX_UIDS)]


class RejectView(Struct):
    """One refused message."""

    uid: int
    refused_at: datetime
    size_bytes: int
    subject: str
    sender: str = field(name="from")


class RejectsList(Struct):
    """One page, the latest first. Each is kept for `kept_days`; `mailbox` is empty when nothing is kept here at all."""

    rejects: list[RejectView]
    total: int
    mailbox: str
    uidvalidity: int
    kept_days: int


class Recovered(Struct):
    """How many are in the inbox now; `left_out`: those that were gone already."""

    recovered: int
    left_out: int


async def list_page(context: ControlContext, _call: Call, params: RejectsPage) -> RejectsList:
    """What is kept, with subject and sender."""
    return await context.offload.run(_list, context, params)


async def recover(context: ControlContext, call: Call, params: RejectsChoice) -> Recovered:
    """Move messages into the inbox; that they were wanted is learnt like from a move by their owner."""
    call.object = params.address
    done = await context.offload.run(_recover, context, params)
    call.after = {"recovered": done.recovered}
    return done


def _list(context: ControlContext, params: RejectsPage) -> RejectsList:
    rule = context.config.junk
    store = context.store.account(context.directory.existing(params.address).ref)
    found = _mailbox(store, rule.rejects_mailbox)
    if found is None:
        return RejectsList([], 0, rule.rejects_mailbox, 0, rule.rejects_days)
    mailbox_id, uidvalidity = found
    uids = [Uid(uid) for uid in store.sizes(mailbox_id).uids][::-1]
    wanted = uids[params.offset : params.offset + params.limit]
    rows = {message.uid: message for message in store.messages(mailbox_id, wanted)}
    rejects = []
    for uid in wanted:
        if (row := rows.get(uid)) is not None:
            subject, sender = _subject_and_sender(store, mailbox_id, uid)
            at = datetime.fromtimestamp(row.internal_seconds, UTC)
            rejects.append(RejectView(uid, at, row.size_bytes, subject, sender))
    return RejectsList(rejects, len(uids), rule.rejects_mailbox, uidvalidity, rule.rejects_days)


def _recover(context: ControlContext, params: RejectsChoice) -> Recovered:
    store = context.store.account(context.directory.existing(params.address).ref)
    found = _mailbox(store, context.config.junk.rejects_mailbox)
    if found is None or found[1] != params.uidvalidity:
        raise MailboxError("rejects.changed", "that mailbox was made anew since; look again", temporary=False)
    uids = [Uid(uid) for uid in sorted(set(params.uids))]
    copied = store.copy(found[0], uids, store.mailbox("INBOX").mailbox_id, move=True)
    return Recovered(len(copied.target_uids), len(uids) - len(copied.target_uids))


def _mailbox(store: Account, name: str) -> tuple[MailboxId, int] | None:
    if not name:
        return None
    try:
        info = store.mailbox(name)
    except MailboxError as error:
        if error.code != "store.no_such_mailbox":
            raise
        return None
    return info.mailbox_id, info.uidvalidity


def _subject_and_sender(store: Account, mailbox_id: MailboxId, uid: Uid) -> Sequence[str]:
    """From the header; nothing of one that went meanwhile."""
    try:
        with store.open_message(mailbox_id, uid) as file:
            data = file.read(_HEADER_BYTES)
    except MailboxError as error:
        if error.code != "store.no_such_message":
            raise
        return "", ""
    fields = Header.parse(data[: header_end(data)])
    return [clean(decode_words(fields.first(name) or b""), 300) for name in (b"subject", b"from")]


METHODS = (
    Method("rejects.list", RejectsPage, RejectsList, list_page, "What was refused by its score and is kept."),
    Method("rejects.recover", RejectsChoice, Recovered, recover, "Put it into the inbox after all.", changes=True),
)
