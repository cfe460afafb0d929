"""Methods `user.*`: accounts. Passwords come in the clear over the socket, are hashed here and written nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from mailbox_app.accounts import passwords
from mailbox_app.accounts.addresses import check_account_address
from mailbox_app.accounts.model import Account, AccountState
from mailbox_app.control import trash
from mailbox_app.control.context import ControlContext
from mailbox_app.control.schema import Call, Count, Method, Params
from mailbox_app.errors import AccountError, MailboxError
from mailbox_app.events.hints import DIRECTORY_TOPIC
from mailbox_app.mailqueue.hold_rules import accounts_held
from mailbox_app.mailqueue.model import HoldRule
from mailbox_app.proto.plain_text import clean


class UserAddress(Params):
    """Which account."""

    address: str


class NewUser(Params):
    """A new account; quota 0: no limit."""

    address: str
    password: str
    quota_bytes: Count = 0


class NewPassword(Params):
    """A new password for an account."""

    address: str
    password: str


class NewQuota(Params):
    """A new limit for an account; 0: none. Without a number of messages that limit stays as it is."""

    address: str
    quota_bytes: Count
    quota_messages: Count | None = None


class OfDomain(Params):
    """One page of what belongs to a domain; empty: to all."""

    domain: str = ""
    offset: Count = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000
    """A thousand fit into one frame, and into one second of looking."""


class WantedUsers(OfDomain):
    """Those with a text in their address, and those of one state: `active`, `disabled` or `removed`."""

    text: str = ""
    state: AccountState | None = None

    def wants(self, account: Account) -> bool:
        """Whether the account is asked for."""
        return self.text.casefold() in account.address and self.state in {None, account.state}


Sending = Literal["free", "braked", "held"]


class UserView(Struct):
    """One account. Bytes and messages are null for one in the trash."""

    address: str
    state: str
    quota_bytes: int
    used_bytes: int | None
    messages: int | None
    created_at: datetime
    last_login_at: datetime | None
    quota_messages: int = 0
    named_by: list[str] = field(default_factory=list)
    """When it is shown or removed: aliases and lists that name it. They keep doing so, and its mail there is refused."""
    sending: Sending = "free"
    """braked: all its mail is held since it suddenly sent much; held: by a hold rule or because it was suspended."""
    held_because: str = ""
    """The reason, when it does not send freely."""


class Users(Struct):
    """One page of accounts by domain and address, those in the trash last; `total` counts all."""

    users: list[UserView]
    total: int


async def add(context: ControlContext, call: Call, params: NewUser) -> UserView:
    """A mailbox and a login from now on."""
    call.object = params.address
    address = check_account_address(params.address)
    prepared = passwords.check_new(params.password, address)

    def run() -> UserView:
        if not context.directory.is_local_domain(address.rpartition("@")[2]):
            return _view(context, context.directory.add_account(address, "", 0))  # refuses, without a hash first
        account = context.directory.add_account(
            address, context.hasher.hash(prepared), params.quota_bytes, context.hasher.scram_keys(prepared)
        )
        context.store.account(account.ref)
        _forget_rights(context, account.address)
        return _view(context, account)

    return _changed(context, call, await context.offload.run(run))


def _forget_rights(context: ControlContext, address: str) -> None:
    """Who gets an address that somebody else had gets none of the mailboxes that were shared with that one."""
    for owner in context.store.shares().owners([address]):
        account = context.directory.account(owner)
        if account is not None:
            notes = context.store.notes(account.ref)
            for mailbox_id, entries in notes.acls().items():
                if address in entries:
                    notes.change_acl(mailbox_id, address, lambda _: "")


async def list_all(context: ControlContext, _call: Call | None, params: WantedUsers) -> Users:
    """All accounts, or those asked for."""

    def run() -> Users:
        domain = context.directory.domain(params.domain).name if params.domain else None
        live = [account for account in context.directory.accounts(domain) if params.wants(account)]
        gone = [
            entry.account
            for entry in context.directory.removed_accounts()
            if (domain is None or entry.account.ref.domain == domain) and params.wants(entry.account)
        ]
        page = slice(params.offset, params.offset + params.limit)
        rules = _hold_rules(context)
        views = [_view(context, account, rules) for account in live[page]]
        rest = slice(max(0, params.offset - len(live)), max(0, params.offset + params.limit - len(live)))
        return Users(views + [_removed_view(account) for account in gone[rest]], len(live) + len(gone))

    return await context.offload.run(run)


async def show(context: ControlContext, _call: Call | None, params: UserAddress) -> UserView:
    """One account."""

    def run() -> UserView:
        view = _view(context, context.directory.existing(params.address))
        view.named_by = list(context.directory.aliases_naming(view.address))
        return view

    return await context.offload.run(run)


async def password(context: ControlContext, call: Call, params: NewPassword) -> UserView:
    """A new password; the old one is void at once."""
    call.object = params.address
    prepared = passwords.check_new(params.password, params.address)

    def run() -> UserView:
        account = context.directory.existing(params.address)
        account = context.directory.set_password(
            account.address, context.hasher.hash(prepared), context.hasher.scram_keys(prepared)
        )
        return _view(context, account)

    call.detail = "new password"
    return _changed(context, call, await context.offload.run(run))


async def quota(context: ControlContext, call: Call, params: NewQuota) -> UserView:
    """A new limit."""
    call.object = params.address

    def run() -> UserView:
        before = context.directory.existing(params.address)
        call.before = {"quota_bytes": before.quota_bytes, "quota_messages": before.quota_messages}
        return _view(context, context.directory.set_quota(params.address, params.quota_bytes, params.quota_messages))

    view = _changed(context, call, await context.offload.run(run))
    call.after = {"quota_bytes": view.quota_bytes, "quota_messages": view.quota_messages}
    return view


async def enable(context: ControlContext, call: Call, params: UserAddress) -> UserView:
    """The account may log in again."""
    return await _set_state(context, call, params.address, AccountState.ACTIVE)


async def disable(context: ControlContext, call: Call, params: UserAddress) -> UserView:
    """No login; mail is still accepted and kept."""
    return await _set_state(context, call, params.address, AccountState.DISABLED)


async def remove(context: ControlContext, call: Call, params: UserAddress) -> UserView:
    """Into the trash with its mail, for 30 days."""
    call.object = params.address

    def run() -> UserView:
        call.before = _view(context, context.directory.existing(params.address))
        # First the directory: from then on nothing is delivered into a folder that is about to move.
        account = context.directory.remove_account(params.address)
        try:
            place = context.store.remove_account(account.ref)
        except MailboxError:
            context.directory.restore_account(account.account_id)  # or its mail would stay behind for ever (D22)
            raise
        context.directory.set_removed_place(account.account_id, place)
        view = _removed_view(account)
        view.named_by = list(context.directory.aliases_naming(account.address))
        return view

    return _changed(context, call, await context.offload.run(run))


async def restore(context: ControlContext, call: Call, params: UserAddress) -> UserView:
    """Out of the trash, with its mail."""
    call.object = params.address

    def run() -> UserView:
        removed = context.directory.removed_accounts(params.address)
        if not removed:
            raise AccountError("account.not_removed", f"there is no {params.address} in the trash")
        newest = removed[0]
        if newest.place:
            trash.put_back(context.data_dir, newest.account.ref, newest.place)
        try:
            account = context.directory.restore_account(newest.account.account_id)
        except MailboxError:
            if newest.place:  # its address was given away: the mail stays where it was
                trash.take_again(context.data_dir, newest.account.ref, newest.place)
            raise
        return _view(context, account)

    return _changed(context, call, await context.offload.run(run))


async def _set_state(context: ControlContext, call: Call, address: str, state: AccountState) -> UserView:
    call.object = address

    def run() -> UserView:
        call.before = {"state": context.directory.existing(address).state}
        return _view(context, context.directory.set_state(address, state))

    view = _changed(context, call, await context.offload.run(run))
    call.after = {"state": view.state}
    return view


def _changed(context: ControlContext, call: Call, view: UserView) -> UserView:
    context.bus.publish(DIRECTORY_TOPIC)
    call.object, call.after = view.address, view
    return view


def _hold_rules(context: ControlContext) -> Mapping[str, HoldRule]:
    """The rule for each account of which all mail is held; none while the queue cannot be asked."""
    try:
        return dict(accounts_held(context.queue.rules()))
    except MailboxError:
        return {}


def _view(context: ControlContext, account: Account, rules: Mapping[str, HoldRule] | None = None) -> UserView:
    used_bytes, messages = context.store.account(account.ref).usage()
    rule = (_hold_rules(context) if rules is None else rules).get(account.address)
    sending: Sending = "free" if rule is None else "braked" if rule.is_brake else "held"
    return UserView(
        account.address, account.state.value, account.quota_bytes, used_bytes, messages, account.created_at,
        account.last_login_at, account.quota_messages, sending=sending,
        held_because="" if rule is None else clean(rule.reason or f"hold rule {rule.number}"),
    )  # fmt: skip


def _removed_view(account: Account) -> UserView:
    return UserView(
        account.address, AccountState.REMOVED.value, account.quota_bytes, None, None, account.created_at,
        account.last_login_at, account.quota_messages,
    )  # fmt: skip


METHODS = (
    Method("user.add", NewUser, UserView, add, "A new account.", changes=True),
    Method("user.list", WantedUsers, Users, list_all, "All accounts, with what they use."),
    Method("user.show", UserAddress, UserView, show, "One account."),
    Method("user.password", NewPassword, UserView, password, "A new password.", changes=True),
    Method("user.quota", NewQuota, UserView, quota, "A new limit.", changes=True),
    Method("user.enable", UserAddress, UserView, enable, "Let an account log in again.", changes=True),
    Method("user.disable", UserAddress, UserView, disable, "No login; mail is still kept.", changes=True),
    Method("user.remove", UserAddress, UserView, remove, "Into the trash for 30 days.", changes=True),
    Method("user.restore", UserAddress, UserView, restore, "Out of the trash, with its mail.", changes=True),
)
