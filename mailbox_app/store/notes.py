"""What an account's mailboxes carry besides mail: annotations (RFC 5464) and access rights for others (RFC 4314).

The store keeps the words and the rules of size; who may read or change what is decided by those who call. Both
survive a rebuild of the index and follow their mailbox when it is renamed; a deleted mailbox takes them along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from mailbox_app.ids import MailboxId

ACCOUNT_NOTES = MailboxId(0)
"""Stands for the account itself where an annotation belongs to no mailbox."""
MAX_VALUE_BYTES = 65_536
MAX_ENTRIES = 200
"""Of one mailbox, all users' private ones together."""
MAX_MAILBOX_BYTES = 524_288
"""All values of one mailbox: they are written as one file."""
MAX_ACCOUNT_BYTES = 16_777_216
"""Annotations are outside the quota; this keeps them from being a place for files."""
MAX_IDENTIFIERS = 500
"""Names in the access list of one mailbox."""


class Notes(Protocol):
    """The notes of one account's mailboxes. Blocking, like all of the store; changes are durable on return."""

    def annotations(self, mailbox_id: MailboxId) -> Mapping[str, bytes]:
        """Entry to value, by entry; the keys are the caller's own."""
        ...

    def annotate(self, mailbox_id: MailboxId, changes: Mapping[str, bytes | None]) -> None:
        """Set entries, remove those with None; all or nothing. `store.note_too_large`, `store.too_many_notes`."""
        ...

    def acls(self) -> Mapping[MailboxId, Mapping[str, str]]:
        """Mailboxes that have an access list: identifier to rights."""
        ...

    def change_acl(self, mailbox_id: MailboxId, identifier: str, change: Callable[[str], str]) -> str:
        """Make new rights of those an identifier holds; none: take it out of the list. What it holds now.

        `store.too_many_identifiers`.
        """
        ...

    def deleted_bytes(self, mailbox_id: MailboxId) -> int:
        """What an expunge of everything marked would free."""
        ...


class Shares(Protocol):
    """Which accounts let others in: found without opening them."""

    def owners(self, identifiers: Sequence[str]) -> Sequence[str]:
        """Addresses of accounts that may name one of these in an access list, in order; some may name them no more."""
        ...
