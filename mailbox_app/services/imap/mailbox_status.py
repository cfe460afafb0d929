"""The STATUS answer of one mailbox, for STATUS itself, LIST-STATUS and NOTIFY. Blocking."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mailbox_app.ids import AccountRef
from mailbox_app.proto.imap import response
from mailbox_app.services.imap.namespaces import mailbox_object_id
from mailbox_app.services.imap.session import Session
from mailbox_app.store.model import MailboxInfo

_COUNTS: Mapping[str, Callable[[MailboxInfo], int]] = {
    "MESSAGES": lambda info: info.message_count,
    "RECENT": lambda info: min(info.message_count, max(0, info.uidnext - info.first_recent_uid)),
    "UIDNEXT": lambda info: info.uidnext,
    "UIDVALIDITY": lambda info: info.uidvalidity,
    "UNSEEN": lambda info: info.unseen_count,
    "DELETED": lambda info: info.deleted_count,
    "SIZE": lambda info: info.size_bytes,
    "HIGHESTMODSEQ": lambda info: info.highest_modseq,
}


def status_line(session: Session, ref: AccountRef, info: MailboxInfo, shown: str, items: Sequence[str]) -> bytes:
    """The whole untagged answer."""
    values = " ".join(f"{item} {_value(session, ref, info, item)}" for item in items)
    return b"* STATUS %b (%b)\r\n" % (response.mailbox(shown, utf8=session.utf8), values.encode("ascii"))


def _value(session: Session, ref: AccountRef, info: MailboxInfo, item: str) -> str:
    if item == "MAILBOXID":
        return f"({mailbox_object_id(ref, info.mailbox_id)})"
    if item == "APPENDLIMIT":  # RFC 7889 3
        return str(session.service.config.limits.max_message_bytes)
    if item == "DELETED-STORAGE":  # RFC 9208 4.1.4
        freed = session.service.deps.store.notes(ref).deleted_bytes(info.mailbox_id) if info.deleted_count else 0
        return str(freed)
    return str(_COUNTS[item](info))
