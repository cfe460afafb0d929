"""What an account holds: its mailboxes with their counts, and the numbers the console follows while its page is open."""

from __future__ import annotations

from msgspec import Struct

from mailbox_app.control.context import ControlContext
from mailbox_app.control.methods.user import UserAddress, UserView, show
from mailbox_app.control.schema import Call, Method
from mailbox_app.errors import AccountError
from mailbox_app.proto.plain_text import clean


class MailboxView(Struct):
    """One mailbox; `special_use` is a word like Sent, or empty."""

    name: str
    messages: int
    unseen: int
    size_bytes: int
    special_use: str


class Mailboxes(Struct):
    """All of an account. `search_bytes`: its search index on disk; `search_waiting`: messages of all accounts not in one yet."""

    mailboxes: list[MailboxView]
    search_bytes: int
    search_waiting: int


class AccountNumbers(Struct):
    """The topic `account`: null and zero when there is no such account."""

    user: UserView | None
    app_passwords: int
    kept_messages: int
    kept_bytes: int


async def mailboxes(context: ControlContext, _call: Call | None, params: UserAddress) -> Mailboxes:
    """By name, INBOX first."""

    def run() -> Mailboxes:
        ref = context.directory.existing(params.address).ref
        found = sorted(context.store.account(ref).mailboxes(), key=lambda each: (each.name != "INBOX", each.name))
        views = [
            MailboxView(
                clean(each.name), each.message_count, each.unseen_count, each.size_bytes, each.special_use or ""
            )
            for each in found
        ]
        return Mailboxes(views, context.search.size_bytes(ref), context.search.waiting_count())

    return await context.offload.run(run)


async def numbers(context: ControlContext, params: UserAddress) -> AccountNumbers:
    """What changes while somebody looks at an account."""

    def rest() -> tuple[int, int, int]:
        kept_bytes, kept_messages = context.store.account(
            context.directory.existing(params.address).ref
        ).retained_usage()
        return len(context.directory.app_passwords(params.address)), kept_messages, kept_bytes

    try:
        return AccountNumbers(await show(context, None, params), *await context.offload.run(rest))
    except AccountError:
        return AccountNumbers(None, 0, 0, 0)


METHODS = (Method("user.mailboxes", UserAddress, Mailboxes, mailboxes, "An account's mailboxes, with counts."),)
