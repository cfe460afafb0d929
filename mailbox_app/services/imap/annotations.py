"""Annotations as one session sees them: everybody's shared ones and its own private ones. RFC 5464 3. Blocking.

In the store an owner's private entries have their plain names; another user's begin with that user's address. So two
users who share a mailbox have each their own private values in it, and the owner's stay where other programs find them.
"""

from __future__ import annotations

from collections.abc import Mapping

from mailbox_app.ids import AccountRef, MailboxId
from mailbox_app.proto.imap import response
from mailbox_app.services.imap.namespaces import account_of
from mailbox_app.services.imap.session import Session
from mailbox_app.store.model import MailboxInfo
from mailbox_app.store.notes import ACCOUNT_NOTES

SPECIAL_USE = "/private/specialuse"
"""What the account's own mailbox is for: no value of its own, the same as in LIST. RFC 6154 4."""


def of_mailbox(session: Session, ref: AccountRef, info: MailboxInfo) -> dict[str, bytes]:
    """The entries of a mailbox, and what it is for."""
    found = readable(session, ref, info.mailbox_id)
    if info.special_use is not None and not key_prefix(session, ref):
        found[SPECIAL_USE] = f"\\{info.special_use.value}".encode("ascii")
    return found


def readable(session: Session, ref: AccountRef, mailbox_id: MailboxId) -> dict[str, bytes]:
    """The entries of a mailbox that the session may know, by the names it uses."""
    own = key_prefix(session, ref)
    found: dict[str, bytes] = {}
    for key, value in session.service.deps.store.notes(ref).annotations(mailbox_id).items():
        prefix, slash, rest = key.partition("/")
        entry = slash + rest
        if (entry.startswith("/shared/") and not prefix) or (entry.startswith("/private/") and prefix == own):
            found[entry] = value
    return found


def server_annotations(session: Session) -> dict[str, bytes]:
    """Of the server: the account's private ones, and what everybody may know."""
    account = account_of(session)
    found = readable(session, account.ref, ACCOUNT_NOTES)
    found["/shared/admin"] = f"mailto:postmaster@{account.ref.domain}".encode()  # RFC 5464 6.2.1.2
    return found


def stored_key(session: Session, ref: AccountRef, entry: str) -> str:
    """What the store calls an entry of this session."""
    return key_prefix(session, ref) + entry if entry.startswith("/private/") else entry


def key_prefix(session: Session, ref: AccountRef) -> str:
    """What stands before the names of the session's private entries in an account's mailboxes."""
    own = account_of(session)
    return "" if own.account_id == ref.account_id else own.address


def _value(value: bytes | None) -> bytes:
    if value is None:
        return b"NIL"
    if b"\0" in value:  # RFC 3516 4.2: a literal8
        return b"~{%d}\r\n%b" % (len(value), value)
    return response.string(value)


def metadata_line(session: Session, shown: str, values: Mapping[str, bytes | None]) -> bytes:
    """The untagged answer with values; `shown` is empty for the server's."""
    words = []
    for entry, value in values.items():
        words += [response.string(entry.encode("ascii")), _value(value)]
    name = response.mailbox(shown, utf8=session.utf8) if shown else b'""'
    return b"* METADATA %b (%b)\r\n" % (name, b" ".join(words))
