"""GETQUOTA, GETQUOTAROOT and the refusal of SETQUOTA. RFC 9208.

An account with a limit is one quota root, called as its address. Another user who shares a mailbox is told the owner's
limit when the mailbox may be read: it is that limit which an APPEND there runs into.
"""

from __future__ import annotations

from mailbox_app.accounts.model import Account
from mailbox_app.proto.imap import response
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.namespaces import account_of, locate
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.session import Session

_UNIT_BYTES = 1_024
"""Of the STORAGE resource. RFC 9208 5.1."""


def parse_root(cursor: Cursor) -> str:
    """A quota root's name."""
    cursor.space()
    return cursor.astring().decode("utf-8", "replace")


def parse_mailbox(cursor: Cursor) -> str:
    """A mailbox."""
    cursor.space()
    return cursor.mailbox()


def parse_setquota(cursor: Cursor) -> str:
    """A root and its new limits, which are read over."""
    root = parse_root(cursor)
    cursor.space()
    cursor.expect(b"(")
    while not cursor.accept(b")"):
        cursor.atom()
        cursor.space()
        cursor.number(1 << 63)
        if not cursor.peek(b")"):
            cursor.space()
    return root


async def get_quota(session: Session, request: Request, root: str) -> None:
    """Use and limit of one's own root."""
    account = _now(session, account_of(session))
    if root.lower() not in {account.address, ""} or not _has_limit(account):
        raise Refusal("No such quota root", "NONEXISTENT")
    await _tell(session, account, root)


async def get_quota_root(session: Session, request: Request, name: str) -> None:
    """Which root limits a mailbox; none without a limit."""

    def work() -> tuple[Account | None, str]:
        located = locate(session, name, "r")
        session.service.deps.store.account(located.ref).mailbox(located.name)
        return session.service.deps.account_by_id(located.ref.account_id), located.shown

    account, shown = await session.offload(work)
    named = b"* QUOTAROOT " + response.mailbox(shown, utf8=session.utf8)
    if account is None or not _has_limit(account):
        session.write(named + b"\r\n")
        return
    session.write(b"%b %b\r\n" % (named, response.string(account.address.encode())))
    await _tell(session, account, account.address)


async def set_quota(session: Session, request: Request, root: str) -> None:
    """Limits are the administrator's."""
    raise Refusal("Quotas are set by the administrator", "NOPERM")


def _has_limit(account: Account) -> bool:
    return bool(account.quota_bytes or account.quota_messages)


def _now(session: Session, account: Account) -> Account:
    """The account as it is now: its limit may have changed since the login."""
    return session.service.deps.account_by_id(account.account_id) or account


async def _tell(session: Session, account: Account, root: str) -> None:
    used_bytes, messages = await session.offload(lambda: session.service.deps.store.account(account.ref).usage())
    limits = []
    if account.quota_bytes:
        limits.append(f"STORAGE {-(-used_bytes // _UNIT_BYTES)} {account.quota_bytes // _UNIT_BYTES}")
    if account.quota_messages:
        limits.append(f"MESSAGE {messages} {account.quota_messages}")
    session.write(b"* QUOTA %b (%b)\r\n" % (response.string(root.encode()), " ".join(limits).encode("ascii")))


GETQUOTA = Command("GETQUOTA", State.LOGGED_IN, Does.NOTHING, "QUOTA", "RFC 9208 4.1.1", get_quota, parse_root)
GETQUOTAROOT = Command(
    "GETQUOTAROOT",
    State.LOGGED_IN,
    Does.NOTHING,
    "QUOTA=RES-STORAGE",
    "RFC 9208 4.1.2",
    get_quota_root,
    parse_mailbox,
)
SETQUOTA = Command(
    "SETQUOTA", State.LOGGED_IN, Does.NOTHING, "QUOTA=RES-MESSAGE", "RFC 9208 4.1.3", set_quota, parse_setquota
)
