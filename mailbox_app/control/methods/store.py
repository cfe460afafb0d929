"""Methods `store.*`: repair and checks of mail on disk."""

from __future__ import annotations

from msgspec import Struct

from mailbox_app.accounts.model import Account
from mailbox_app.control.context import ControlContext
from mailbox_app.control.methods.user import UserAddress
from mailbox_app.control.schema import Call, Method, Params
from mailbox_app.proto.plain_text import clean

_MAX_PROBLEMS = 1000


class MaybeAddress(Params):
    """One account; empty: all."""

    address: str = ""


class Rebuilt(Struct):
    """How many messages the new index has."""

    messages: int


class RebuiltSearch(Struct):
    """How many messages the new search index has, and its room on disk."""

    messages: int
    size_bytes: int


class Problem(Struct):
    """One difference between index and files."""

    address: str
    text: str


class Checked(Struct):
    """The first thousand problems of the accounts checked."""

    accounts: int
    problems: list[Problem]


async def rebuild_index(context: ControlContext, call: Call, params: UserAddress) -> Rebuilt:
    """Make an account's index anew from its files."""
    call.object = params.address
    account = await context.offload.run(context.directory.existing, params.address)
    call.object = account.address
    messages = await context.offload.run(context.store.rebuild, account.ref)
    call.after = {"messages": messages}
    return Rebuilt(messages)


async def rebuild_search(context: ControlContext, call: Call, params: UserAddress) -> RebuiltSearch:
    """Make an account's search index anew from its messages; searches read messages meanwhile."""
    call.object = params.address
    account = await context.offload.run(context.directory.existing, params.address)
    call.object = account.address

    async def progress(done: int, total: int) -> None:
        await call.progress(done, total, account.address)

    messages = await context.search.rebuild(account.ref, progress)
    call.after = {"messages": messages}
    return RebuiltSearch(messages, await context.offload.run(context.search.size_bytes, account.ref))


async def check(context: ControlContext, call: Call, params: MaybeAddress) -> Checked:
    """Compare index and files."""
    accounts: list[Account]
    if params.address:
        accounts = [await context.offload.run(context.directory.existing, params.address)]
    else:
        accounts = list(await context.offload.run(context.directory.accounts))
    problems: list[Problem] = []
    for number, account in enumerate(accounts):
        await call.progress(number, len(accounts), account.address)
        found = await context.offload.run(context.store.check, account.ref)
        room = _MAX_PROBLEMS - len(problems)
        problems.extend(Problem(account.address, clean(text)) for text in found[:room])
    return Checked(len(accounts), problems)


METHODS = (
    Method("store.rebuild_index", UserAddress, Rebuilt, rebuild_index, "Make an index anew.", changes=True),
    Method(
        "store.rebuild_search", UserAddress, RebuiltSearch, rebuild_search, "Make a search index anew.", changes=True
    ),
    Method("store.check", MaybeAddress, Checked, check, "Compare index and files."),
)
