"""SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS. RFC 4314 3.

The owner has all rights, always; everybody else what the list says. Identifiers are addresses of this server's accounts
(a name without a domain means the owner's) or `anyone`, meaning everybody with an account.
"""

from __future__ import annotations

from mailbox_app.ids import AccountRef, MailboxId
from mailbox_app.proto.imap import response
from mailbox_app.proto.imap.acl import (
    ALL_RIGHTS,
    ANYONE,
    AclChange,
    combined,
    parse_deleteacl,
    parse_listrights,
    parse_setacl,
    shown,
)
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.commands.mailboxes import parse_name
from mailbox_app.services.imap.namespaces import locate, no_such_mailbox
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.session import Session


def _mailbox(session: Session, name: str, need: str) -> tuple[AccountRef, MailboxId, str, str]:
    """(owner, id, the name in this session, rights) of a mailbox that exists."""
    located = locate(session, name, need)
    info = session.service.deps.store.account(located.ref).mailbox(located.name)
    return located.ref, info.mailbox_id, located.shown, located.rights


def _address(ref: AccountRef) -> str:
    return f"{ref.localpart}@{ref.domain}"


def _whole(identifier: str, ref: AccountRef) -> str:
    """With its domain."""
    name = identifier.removeprefix("-")
    if name == ANYONE or "@" in name:
        return identifier
    return f"{identifier}@{ref.domain}"


async def set_acl(session: Session, request: Request, change: AclChange) -> None:
    """Grant or take away."""

    def work() -> tuple[AccountRef, str, str, str]:
        ref, mailbox_id, shown_as, _ = _mailbox(session, change.mailbox, "a")
        identifier = _whole(change.identifier, ref)
        name = identifier.removeprefix("-")
        if name == _address(ref):
            _check_owner_keeps_all(identifier, change, removing=request.verb == "DELETEACL")
            return ref, shown_as, identifier, ALL_RIGHTS
        known = name == ANYONE or session.service.deps.account_by_address(name) is not None
        if request.verb == "SETACL" and change.mode != "-" and change.rights and not known:
            raise Refusal("No such user", "CANNOT")
        rights = session.service.deps.store.notes(ref).change_acl(
            mailbox_id, identifier, lambda held: combined(held, change.mode, change.rights)
        )
        return ref, shown_as, identifier, rights

    ref, shown_as, identifier, rights = await session.offload(work)
    session.service.deps.log.info(
        "access changed",
        session=session.session_id,
        account=session.account.address if session.account else "",
        owner=_address(ref),
        mailbox=shown_as,
        identifier=identifier,
        rights=rights,
    )


def _check_owner_keeps_all(identifier: str, change: AclChange, *, removing: bool) -> None:
    grants = not identifier.startswith("-") and not removing
    if not grants or combined(ALL_RIGHTS, change.mode, change.rights) != ALL_RIGHTS:
        raise Refusal("The owner keeps all rights", "CANNOT")


async def get_acl(session: Session, request: Request, name: str) -> None:
    """Everybody in the list, the owner first."""

    def work() -> bytes:
        ref, mailbox_id, shown_as, _ = _mailbox(session, name, "a")
        entries = {_address(ref): ALL_RIGHTS, **session.service.deps.store.notes(ref).acls().get(mailbox_id, {})}
        words = [response.mailbox(shown_as, utf8=session.utf8)]
        for identifier, rights in entries.items():
            words += [response.string(identifier.encode("utf-8")), shown(rights).encode("ascii")]
        return b"* ACL %b\r\n" % b" ".join(words)

    session.write(await session.offload(work))


async def list_rights(session: Session, request: Request, arguments: tuple[str, str]) -> None:
    """What an identifier always has, and what it may be given."""
    name, identifier = arguments

    def work() -> bytes:
        ref, _, shown_as, _ = _mailbox(session, name, "a")
        is_owner = _whole(identifier, ref) == _address(ref)
        rights = shown(ALL_RIGHTS) if is_owner else '"" ' + " ".join(shown(ALL_RIGHTS))
        who = response.string(identifier.encode("utf-8"))
        return b"* LISTRIGHTS %b %b %b\r\n" % (
            response.mailbox(shown_as, utf8=session.utf8),
            who,
            rights.encode("ascii"),
        )

    session.write(await session.offload(work))


async def my_rights(session: Session, request: Request, name: str) -> None:
    """What the session may do; without any of the rights that let one ask, the mailbox is as if absent. RFC 4314 4."""

    def work() -> bytes:
        _, _, shown_as, rights = _mailbox(session, name, "")
        if not set(rights) & set("lrikxa"):
            raise no_such_mailbox()
        return b"* MYRIGHTS %b %b\r\n" % (
            response.mailbox(shown_as, utf8=session.utf8),
            shown(rights).encode("ascii"),
        )

    session.write(await session.offload(work))


SETACL = Command("SETACL", State.LOGGED_IN, Does.NOTHING, "ACL", "RFC 4314 3.1", set_acl, parse_setacl)
DELETEACL = Command("DELETEACL", State.LOGGED_IN, Does.NOTHING, "", "RFC 4314 3.2", set_acl, parse_deleteacl)
GETACL = Command("GETACL", State.LOGGED_IN, Does.NOTHING, "", "RFC 4314 3.3", get_acl, parse_name)
LISTRIGHTS = Command(
    "LISTRIGHTS", State.LOGGED_IN, Does.NOTHING, "RIGHTS=texk", "RFC 4314 3.4", list_rights, parse_listrights
)  # fmt: skip
MYRIGHTS = Command("MYRIGHTS", State.LOGGED_IN, Does.NOTHING, "", "RFC 4314 3.5", my_rights, parse_name)
