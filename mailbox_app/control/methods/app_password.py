"""Methods `app_password.*`: passwords of single programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct, field

from mailbox_app.accounts.app_passwords import PROTOCOLS, SELECTOR_LETTERS, new_app_password, shown
from mailbox_app.accounts.model import AppPassword
from mailbox_app.control.context import ControlContext
from mailbox_app.control.schema import Call, Method, Params
from mailbox_app.errors import AccountError
from mailbox_app.events.hints import DIRECTORY_TOPIC

_MAX_LABEL_CHARACTERS = 64


class OfUser(Params):
    """Whose."""

    address: str


class Label(Params):
    """Which one of whose."""

    address: str
    label: str


class NewAppPassword(Params):
    """For which program, and for which protocols; none named: imap and smtp."""

    address: str
    label: str
    protocols: list[str] = field(default_factory=lambda: ["imap", "smtp"])


class AppPasswordView(Struct):
    """Without the password itself: nobody can tell it again."""

    label: str
    protocols: list[str]
    created_at: datetime


class AppPasswords(Struct):
    """Those of an account."""

    app_passwords: list[AppPasswordView]


class MadeAppPassword(Struct):
    """The only time the password is told."""

    label: str
    protocols: list[str]
    password: str


async def add(context: ControlContext, call: Call, params: NewAppPassword) -> MadeAppPassword:
    """The server makes it and tells it once."""
    call.object, call.detail = params.address, f"app password {params.label}"[:200]
    label, protocols = _checked(params)
    form = new_app_password()

    def run() -> AppPassword:
        context.directory.existing(params.address)  # refuses without a hash
        return context.directory.add_app_password(
            params.address, label, protocols, form[:SELECTOR_LETTERS], context.hasher.hash(form)
        )

    made = await context.offload.run(run)
    context.bus.publish(DIRECTORY_TOPIC)
    call.after = {"label": made.label, "protocols": list(made.protocols)}
    return MadeAppPassword(made.label, list(made.protocols), shown(form))


async def list_all(context: ControlContext, _call: Call, params: OfUser) -> AppPasswords:
    """What programs may log in as this account."""
    found = await context.offload.run(context.directory.app_passwords, params.address)
    return AppPasswords([_view(each) for each in found])


async def revoke(context: ControlContext, call: Call, params: Label) -> AppPasswordView:
    """It is void at once; all sessions of the account end, the other passwords stay good."""
    call.object, call.detail = params.address, f"app password {params.label}"[:200]
    gone = await context.offload.run(context.directory.revoke_app_password, params.address, params.label)
    context.bus.publish(DIRECTORY_TOPIC)
    return _view(gone)


def _checked(params: NewAppPassword) -> tuple[str, Sequence[str]]:
    label = params.label.strip()
    if not 1 <= len(label) <= _MAX_LABEL_CHARACTERS or not label.isprintable():
        raise AccountError("account.bad_label", f"a label has 1 to {_MAX_LABEL_CHARACTERS} printable characters")
    unknown = [each for each in params.protocols if each not in PROTOCOLS]
    if unknown or not params.protocols:
        raise AccountError("account.bad_protocol", f"an app password is for some of {', '.join(PROTOCOLS)}")
    return label, [each for each in PROTOCOLS if each in params.protocols]


def _view(each: AppPassword) -> AppPasswordView:
    return AppPasswordView(each.label, list(each.protocols), each.created_at)


METHODS = (
    Method("app_password.add", NewAppPassword, MadeAppPassword, add, "A password for one program.", changes=True),
    Method("app_password.list", OfUser, AppPasswords, list_all, "Passwords of an account's programs."),
    Method("app_password.revoke", Label, AppPasswordView, revoke, "Take one back.", changes=True),
)
