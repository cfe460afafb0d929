"""Which account's store a mailbox name means, and what the session may do there. RFC 2342, RFC 4314.

A user's own mailboxes have no prefix. Those that others share are `Users/<owner's address>/<name>`; no own mailbox can
have such a name. The owner has all rights to every mailbox; everybody else has what its access list says. A mailbox
that may not even be listed is answered as if it did not exist. Everything here blocks: offload it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mailbox_app.accounts.model import Account
from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountRef, MailboxId
from mailbox_app.proto.imap.acl import ALL_RIGHTS, ANYONE, effective
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.store.model import MailboxInfo

if TYPE_CHECKING:
    from mailbox_app.services.imap.session import Session

USERS = "Users"
USERS_PREFIX = "Users/"
_MAX_OWNERS = 500
"""Accounts that one LIST opens; beyond that the rest is found by name only."""


@dataclass(frozen=True, slots=True)
class Located:
    """A mailbox that may or may not exist."""

    ref: AccountRef
    """Whose store."""
    name: str
    """Its name there."""
    rights: str
    """RFC 4314 letters; of another's mailbox that does not exist: none."""
    shown: str
    """The name the session's client uses."""
    is_missing: bool = False
    """Known of another's mailbox only."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A mailbox that the session may list."""

    ref: AccountRef
    info: MailboxInfo
    """Under the owner's name; another's special use and subscription are not ours."""
    rights: str
    shown: str


def account_of(session: Session) -> Account:
    """The logged-in account."""
    assert session.account is not None
    return session.account


def mailbox_object_id(ref: AccountRef, mailbox_id: MailboxId) -> str:
    """MAILBOXID: the same for everybody who sees the mailbox, whatever its name. RFC 8474 4."""
    return f"F{ref.account_id}-{mailbox_id}"


def owner_and_name(session: Session, name: str) -> tuple[Account | None, str]:
    """The owner (None: nobody of that name) and the name in the owner's store."""
    own = account_of(session)
    if not name.startswith(USERS_PREFIX):
        return own, name
    address, _, inner = name[len(USERS_PREFIX) :].partition("/")
    if "@" not in address:
        return own, name
    if inner.upper() == "INBOX" or inner.upper().startswith("INBOX/"):
        inner = "INBOX" + inner[5:]
    if address.lower() == own.address:
        return own, inner
    return session.service.deps.account_by_address(address.lower()), inner


def is_shared_name(name: str) -> bool:
    """Whether a name may stand for another user's mailbox: others need no look."""
    return name.startswith(USERS_PREFIX)


def shown_name(session: Session, ref: AccountRef, name: str) -> str:
    """What a mailbox of an account is called in this session."""
    if ref.account_id == account_of(session).account_id:
        return name
    return f"{USERS_PREFIX}{ref.localpart}@{ref.domain}/{name}"


def locate(session: Session, name: str, need: str = "") -> Located:
    """Find it and check the rights `need`: NOPERM, or as if it did not exist when it may not be seen."""
    owner, inner = owner_and_name(session, name)
    if owner is None or not inner:
        raise no_such_mailbox()
    if owner.account_id == account_of(session).account_id:
        return Located(owner.ref, inner, ALL_RIGHTS, inner)
    try:
        info = session.service.deps.store.account(owner.ref).mailbox(inner)
    except StoreError as error:
        if error.code != "store.no_such_mailbox":
            raise
        return _checked(Located(owner.ref, inner, "", name, is_missing=True), need)
    rights = rights_in(session, owner.ref, info.mailbox_id)
    return _checked(Located(owner.ref, info.name, rights, shown_name(session, owner.ref, info.name)), need)


def _checked(located: Located, need: str) -> Located:
    if set(need) <= set(located.rights):
        return located
    if "l" in located.rights:
        raise permission_denied()
    raise no_such_mailbox()


def rights_in(session: Session, ref: AccountRef, mailbox_id: MailboxId) -> str:
    """What the session may do in a mailbox that exists."""
    own = account_of(session)
    if ref.account_id == own.account_id:
        return ALL_RIGHTS
    return effective(session.service.deps.store.notes(ref).acls().get(mailbox_id, {}), own.address)


def locate_new(session: Session, name: str) -> Located:
    """Where a mailbox of this name would be made; another's needs `k` on the nearest mailbox above. RFC 4314 4.

    One that is there and may not be seen is no way to what is below it, and not told from a place closed to all.
    """
    owner, inner = owner_and_name(session, name)
    if owner is None or not inner:
        raise Refusal("No mailbox can have this name", "CANNOT")
    located = Located(owner.ref, inner, ALL_RIGHTS, inner)
    if owner.account_id == account_of(session).account_id:
        return located
    above = inner.rpartition("/")[0]
    while above:
        parent = locate(session, shown_name(session, owner.ref, above))
        if not parent.is_missing:
            there = locate(session, name)
            if "k" not in parent.rights or not (there.is_missing or "l" in there.rights):
                raise permission_denied()
            return Located(owner.ref, inner, parent.rights, shown_name(session, owner.ref, inner))
        above = above.rpartition("/")[0]
    raise permission_denied()


def own_mailboxes(session: Session) -> list[Seen]:
    """The account's own, INBOX first."""
    ref = account_of(session).ref
    return [Seen(ref, info, ALL_RIGHTS, info.name) for info in session.mail().mailboxes()]


def shared_mailboxes(session: Session) -> list[Seen]:
    """What others let this session list."""
    own = account_of(session)
    store = session.service.deps.store
    subscribed = frozenset(session.mail().subscriptions())
    seen: list[Seen] = []
    for owner in sharing_owners(session):
        rights = {
            mailbox_id: held
            for mailbox_id, entries in store.notes(owner.ref).acls().items()
            if "l" in (held := effective(entries, own.address))
        }
        if rights:
            for info in store.account(owner.ref).mailboxes():
                if info.mailbox_id in rights:
                    shown = shown_name(session, owner.ref, info.name)
                    info = replace(info, special_use=None, subscribed=shown in subscribed)
                    seen.append(Seen(owner.ref, info, rights[info.mailbox_id], shown))
    return seen


def sharing_owners(session: Session) -> list[Account]:
    """Accounts that may have something for this session."""
    own = account_of(session)
    addresses = session.service.deps.store.shares().owners([own.address, ANYONE])
    found: Iterable[Account | None] = (
        session.service.deps.account_by_address(address) for address in addresses[:_MAX_OWNERS]
    )
    return [account for account in found if account is not None and account.account_id != own.account_id]


def no_such_mailbox() -> StoreError:
    """For a name that stands for nothing this session may see."""
    return StoreError("store.no_such_mailbox", "no such mailbox")


def permission_denied() -> Refusal:
    """For a mailbox that may be seen, but not so used. RFC 5530 3."""
    return Refusal("Permission denied", "NOPERM")
