"""Methods `retained.*`: expunged messages of an account, and bringing them back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct, field

from mailbox_app.control.context import ControlContext
from mailbox_app.control.schema import Call, Method, Params
from mailbox_app.errors import ControlError
from mailbox_app.proto.plain_text import clean
from mailbox_app.store.interface import Account
from mailbox_app.store.model import Retained, SystemFlag

_PAGE = 500
"""Restored by one transaction."""
_MAX_IDS = 10_000
_TARGETS = 20
_UID_BITS = 32

RetainedId = Annotated[str, Meta(pattern=r"^\d{1,10}-\d{1,10}$", description="as retained.list tells it")]


class RetainedFilter(Params):
    """Which expunged messages of an account; nothing said: all."""

    address: str
    mailbox: str = ""
    """Of this mailbox."""
    since: datetime | None = None
    """Expunged then or later."""
    text: str = ""
    """In subject or sender."""
    plan: str = ""
    """As an earlier answer told it: what was expunged after that answer is not meant."""


class RetainedWanted(RetainedFilter):
    """One page of them."""

    before: str = ""
    """An earlier page's `next`."""
    limit: Annotated[int, Meta(ge=1, le=_PAGE)] = 100


class RetainedChoice(RetainedFilter):
    """Messages to bring back: these ids, or all that the filter lets through when `ids` is null."""

    ids: Annotated[list[RetainedId], Meta(max_length=_MAX_IDS)] | None = None


class RetainedView(Struct):
    """One expunged message."""

    id: str
    mailbox: str
    flags: list[str]
    size_bytes: int
    received_at: datetime
    expunged_at: datetime
    subject: str
    sender: str = field(name="from")


class RetainedMessages(Struct):
    """One page, latest expunge first; `next` is null at the end. `kept` counts all the account has; each for `kept_days`."""

    messages: list[RetainedView]
    next: str | None
    plan: str
    kept_messages: int
    kept_bytes: int
    kept_days: int


class Target(Struct):
    """Where some of them would go; `exists`: false when the mailbox would be made again."""

    mailbox: str
    messages: int
    exists: bool


class RestorePlan(Struct):
    """What restoring would do: how many, how much, where to (most first), and whether the quota has room for it."""

    plan: str
    messages: int
    size_bytes: int
    left_out: int
    mailboxes: list[Target]
    fits: bool


class Returned(Struct):
    """Where one message went."""

    id: str
    mailbox: str
    uid: int


class Restoration(Struct):
    """What came back; the first thousand one by one. `left_out`: ids that are not kept any more."""

    restored: int
    left_out: int
    messages: list[Returned]


async def list_page(context: ControlContext, _call: Call, params: RetainedWanted) -> RetainedMessages:
    """One page."""
    before = _place(params.before) if params.before else _not_after(params)

    def run() -> RetainedMessages:
        account = context.store.account(context.directory.existing(params.address).ref)
        page = account.retained(params.mailbox, _seconds(params), params.text, before, params.limit)
        kept_bytes, kept_messages = account.retained_usage()
        following = None if page.next is None else f"{page.next[0]}-{page.next[1]}"
        first = _told(page.messages[0]) if page.messages else ""
        return RetainedMessages(
            [_view(each) for each in page.messages], following, params.plan or first, kept_messages, kept_bytes,
            context.config.retention.expunged_days,
        )  # fmt: skip

    return await context.offload.run(run)


async def plan(context: ControlContext, _call: Call, params: RetainedChoice) -> RestorePlan:
    """Look at all that would come back; `plan` names the latest of it."""

    def run() -> RestorePlan:
        account = context.directory.existing(params.address)
        mail = context.store.account(account.ref)
        counts: Counter[str] = Counter()
        size_bytes, latest = 0, ""
        for each in _meant(mail, params):
            counts[each.mailbox] += 1
            size_bytes += each.size_bytes
            latest = latest or _told(each)
        there = {each.name for each in mail.mailboxes()}
        used_bytes, used_messages = mail.usage()
        messages = counts.total()
        fits = (not account.quota_bytes or used_bytes + size_bytes <= account.quota_bytes) and (
            not account.quota_messages or used_messages + messages <= account.quota_messages
        )
        return RestorePlan(
            plan=params.plan or latest,
            messages=messages,
            size_bytes=size_bytes,
            left_out=0 if params.ids is None else len(set(params.ids)) - messages,
            mailboxes=[Target(clean(name), number, name in there) for name, number in counts.most_common(_TARGETS)],
            fits=fits,
        )

    return await context.offload.run(run)


async def restore(context: ControlContext, call: Call, params: RetainedChoice) -> Restoration:
    """Bring messages back, some hundred in a step; what is back stays back when a later step fails."""
    call.object = params.address
    account = await context.offload.run(context.directory.existing, params.address)
    call.object = account.address
    mail = context.store.account(account.ref)
    answer = Restoration(0, 0, [])
    chosen = await context.offload.run(_chosen, mail, params)
    try:
        for start in range(0, len(chosen), _PAGE):
            part = chosen[start : start + _PAGE]
            done = await context.offload.run(mail.restore, part)
            answer.restored += len(done)
            answer.left_out += len(part) - len(done)
            room = 1_000 - len(answer.messages)
            answer.messages += [Returned(_id(each.retained_id), each.mailbox, each.uid) for each in done[:room]]
            await call.progress(start + len(part), len(chosen), account.address)
    finally:
        call.after = {"restored": answer.restored, "left_out": answer.left_out}
    return answer


def _chosen(mail: Account, params: RetainedChoice) -> list[int]:
    """The ids at the beginning: what is expunged meanwhile is another matter."""
    if params.ids is not None:
        return sorted({_number(each) for each in params.ids})
    return [each.retained_id for page in _pages(mail, params) for each in page]


def _meant(mail: Account, params: RetainedChoice) -> Iterator[Retained]:
    """The rows of a choice, latest first; looking ends with the last id found."""
    missing = None if params.ids is None else {_number(each) for each in params.ids}
    for page in _pages(mail, params) if missing is None or missing else ():
        for each in page:
            if missing is None:
                yield each
            elif each.retained_id in missing:
                missing.remove(each.retained_id)
                yield each
        if missing is not None and not missing:
            return


def _pages(mail: Account, params: RetainedChoice) -> Iterator[Sequence[Retained]]:
    before = _not_after(params)
    while True:
        page = mail.retained(params.mailbox, _seconds(params), params.text, before, _PAGE)
        yield page.messages
        if page.next is None:
            return
        before = page.next


def _view(each: Retained) -> RetainedView:
    return RetainedView(
        id=_id(each.retained_id),
        mailbox=clean(each.mailbox),
        flags=[flag.name.capitalize() for flag in SystemFlag if each.flags & flag and flag.name],
        size_bytes=each.size_bytes,
        received_at=datetime.fromtimestamp(each.internal_seconds, UTC),
        expunged_at=datetime.fromtimestamp(each.expunged_seconds, UTC),
        subject=clean(each.subject, 200),
        sender=clean(each.sender, 200),
    )


def _seconds(params: RetainedFilter) -> int:
    return 0 if params.since is None else int(params.since.timestamp())


def _id(number: int) -> str:
    return f"{number >> _UID_BITS}-{number & (1 << _UID_BITS) - 1}"


def _number(text: str) -> int:
    mailbox_id, _, uid = text.partition("-")
    if int(mailbox_id) >= 1 << 31 or int(uid) >= 1 << _UID_BITS:
        raise ControlError("control.bad_params", f"{text} is no id of an expunged message")
    return int(mailbox_id) << _UID_BITS | int(uid)


def _told(each: Retained) -> str:
    return f"{each.expunged_seconds}-{each.retained_id}"


def _not_after(params: RetainedFilter) -> tuple[int, int] | None:
    """Where looking begins: at the latest message of the plan."""
    if not params.plan:
        return None
    seconds, key = _place(params.plan)
    return seconds, key + 1


def _place(text: str) -> tuple[int, int]:
    seconds, _, key = text.partition("-")
    if not (seconds.isdecimal() and key.isdecimal() and len(text) < 36):
        raise ControlError("control.bad_params", "before or plan is not what an earlier answer told")
    return int(seconds), int(key)


METHODS = (
    Method("retained.list", RetainedWanted, RetainedMessages, list_page, "Expunged messages that can come back."),
    Method("retained.plan", RetainedChoice, RestorePlan, plan, "What restoring them would do."),
    Method("retained.restore", RetainedChoice, Restoration, restore, "Bring them back.", changes=True),
)
