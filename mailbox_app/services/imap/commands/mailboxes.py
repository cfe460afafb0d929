"""CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE. RFC 9051 6.3.4 to 6.3.8. Names are judged by the store.

Missing parents of a new mailbox are made as mailboxes, so nothing created here is `\\Noselect`. Deleting a mailbox leaves
its children, and its name as one that cannot be selected until the last of them is gone.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailbox_app.errors import StoreError
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.listings import list_line, old_name
from mailbox_app.services.imap.namespaces import (
    account_of,
    locate,
    locate_new,
    mailbox_object_id,
    owner_and_name,
    permission_denied,
    shown_name,
)
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.session import Session
from mailbox_app.store.model import MailboxInfo, SpecialUse

_USES = {f"\\{use.value}".upper(): use for use in SpecialUse}


@dataclass(frozen=True, slots=True)
class Creation:
    """A parsed CREATE."""

    name: str
    uses: tuple[str, ...]
    """Upper case, with their backslash. RFC 6154 3."""


def parse_name(cursor: Cursor) -> str:
    """One mailbox name."""
    cursor.space()
    return cursor.mailbox()


def parse_names(cursor: Cursor) -> tuple[str, str]:
    """Two mailbox names."""
    return parse_name(cursor), parse_name(cursor)


def parse_create(cursor: Cursor) -> Creation:
    """A name, and what the mailbox is for."""
    name = parse_name(cursor)
    uses: list[str] = []
    if cursor.accept(b" ("):
        cursor.expect(b"USE (")
        while not cursor.accept(b")"):
            if uses:
                cursor.space()
            uses.append(cursor.flag().decode("ascii").upper())
        cursor.expect(b")")
    return Creation(name, tuple(dict.fromkeys(uses)))


async def create(session: Session, request: Request, creation: Creation) -> str:
    """Make it; a trailing delimiter only says that children will follow. RFC 9051 6.3.4."""
    use = special_use(creation.uses)
    asked = creation.name.removesuffix("/")

    def work() -> tuple[MailboxInfo, str, str]:
        target = locate_new(session, asked)
        if use is not None:
            if target.ref.account_id != account_of(session).account_id:
                raise permission_denied()
            if any(info.special_use is use for info in session.mail().mailboxes()):
                raise Refusal("Another mailbox has this use", "USEATTR")
        info = session.service.deps.store.account(target.ref).create(target.name, use)
        shown = shown_name(session, target.ref, info.name)
        return info, shown, mailbox_object_id(target.ref, info.mailbox_id)

    info, shown, object_id = await session.offload(work)
    if shown != asked and session.rev2:  # RFC 9051 6.3.4: the name was changed
        words = [f"\\{info.special_use.value}"] if info.special_use else []
        session.write(list_line(session, "LIST", words, shown, old_name(session, asked)))
    return f"[MAILBOXID ({object_id})] CREATE done"


def special_use(uses: tuple[str, ...]) -> SpecialUse | None:
    """The use that these attributes (upper case) name; NO with USEATTR for what cannot be. RFC 6154 3."""
    if not uses:
        return None
    use = _USES.get(uses[0])
    if use is None or len(uses) > 1:
        raise Refusal("No mailbox here is for that", "USEATTR")
    return use


async def delete(session: Session, request: Request, name: str) -> None:
    """Remove it; its children stay."""

    def work() -> int:
        target = locate(session, name, "x")
        if target.name == "INBOX":
            raise Refusal("INBOX stays", "CANNOT")
        store = session.service.deps.store.account(target.ref)
        try:
            mailbox_id = store.mailbox(target.name).mailbox_id
            store.delete(target.name)
        except StoreError as error:
            missing = error.code == "store.no_such_mailbox"
            if missing and any(info.name.startswith(target.name + "/") for info in store.mailboxes()):
                raise Refusal("It is only a name above other mailboxes", "HASCHILDREN") from error
            raise
        selected = session.selected
        if selected is not None and selected.ref.account_id == target.ref.account_id:
            return mailbox_id
        return 0

    if await session.offload(work) == (session.selected.mailbox_id if session.selected else None):
        session.unselect()


async def rename(session: Session, request: Request, names: tuple[str, str]) -> None:
    """Move it with its children; their access lists go with them."""
    old, new = names

    def work() -> None:
        source, target = locate(session, old, "x"), locate_new(session, new.removesuffix("/"))
        if source.ref.account_id != target.ref.account_id:
            raise Refusal("A mailbox cannot be given to another user", "CANNOT")
        store = session.service.deps.store.account(source.ref)
        if source.ref.account_id != account_of(session).account_id:
            if source.name == "INBOX":
                raise permission_denied()
            for info in store.mailboxes():
                if info.name.startswith(source.name + "/"):  # one that may not be deleted may not be moved either
                    locate(session, shown_name(session, source.ref, info.name), "x")
        store.rename(source.name, target.name)

    await session.offload(work)


async def subscribe(session: Session, request: Request, name: str) -> None:
    """Remember or forget a name, whether or not it exists."""
    wanted = request.verb == "SUBSCRIBE"
    name = name.removesuffix("/")

    def work() -> None:
        owner, inner = owner_and_name(session, name)
        session.mail().subscribe(name if owner is None else shown_name(session, owner.ref, inner), wanted)

    await session.offload(work)


CREATE = Command(
    "CREATE", State.LOGGED_IN, Does.NOTHING, "CREATE-SPECIAL-USE", "RFC 9051 6.3.4", create, parse_create
)  # fmt: skip
DELETE = Command("DELETE", State.LOGGED_IN, Does.NOTHING, "", "RFC 9051 6.3.5", delete, parse_name)
RENAME = Command("RENAME", State.LOGGED_IN, Does.NOTHING, "", "RFC 9051 6.3.6", rename, parse_names)
SUBSCRIBE = Command("SUBSCRIBE", State.LOGGED_IN, Does.NOTHING, "", "RFC 9051 6.3.7", subscribe, parse_name)
UNSUBSCRIBE = Command("UNSUBSCRIBE", State.LOGGED_IN, Does.NOTHING, "", "RFC 9051 6.3.8", subscribe, parse_name)
