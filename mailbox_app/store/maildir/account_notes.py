"""One account's annotations and access lists as sessions see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountRef, MailboxId
from mailbox_app.store.maildir import notes, notes_queries
from mailbox_app.store.maildir.handles import Handles
from mailbox_app.store.maildir.shares import MaildirShares
from mailbox_app.store.notes import MAX_IDENTIFIERS, MAX_VALUE_BYTES, Notes


class MaildirNotes(Notes):
    """A light handle; see `store.notes.Notes` for what each method promises."""

    def __init__(self, handles: Handles, shares: MaildirShares, ref: AccountRef) -> None:
        self._handles = handles
        self._shares = shares
        self._ref = ref

    def annotations(self, mailbox_id: MailboxId) -> Mapping[str, bytes]:
        """Entry to value."""
        with self._handles.using(self._ref) as opened, opened.db.reading() as connection:
            return notes_queries.entries(connection, mailbox_id)

    def annotate(self, mailbox_id: MailboxId, changes: Mapping[str, bytes | None]) -> None:
        """Set and remove entries."""
        if any(value is not None and len(value) > MAX_VALUE_BYTES for value in changes.values()):
            raise StoreError("store.note_too_large", "the value is too large")
        with self._handles.using(self._ref) as opened, opened.writing() as work:
            before = notes_queries.entries(work.connection, mailbox_id)
            after = dict(before)
            for entry, value in changes.items():
                after.pop(entry, None)
                if value is not None:
                    after[entry] = value
            if after != before:
                notes.check_room(work, before, after)
                notes.replace_annotations(work, mailbox_id, before, after)

    def acls(self) -> Mapping[MailboxId, Mapping[str, str]]:
        """Mailboxes that have an access list."""
        with self._handles.using(self._ref) as opened, opened.db.reading() as connection:
            found: dict[MailboxId, dict[str, str]] = {}
            for mailbox_id, identifier, rights in notes_queries.acls(connection):
                found.setdefault(MailboxId(mailbox_id), {})[identifier] = rights
            return found

    def change_acl(self, mailbox_id: MailboxId, identifier: str, change: Callable[[str], str]) -> str:
        """Make new rights of those an identifier holds."""
        if not identifier.startswith("-"):
            self._shares.add(self._ref, [identifier])
        with self._handles.using(self._ref) as opened:
            with opened.writing() as work:
                row = work.mailbox(mailbox_id)
                before = notes_queries.acl(work.connection, mailbox_id)
                rights = change(before.get(identifier, ""))
                after = {name: held for name, held in before.items() if name != identifier}
                if rights:
                    after[identifier] = rights
                if len(after) > MAX_IDENTIFIERS:
                    raise StoreError("store.too_many_identifiers", "the access list is full")
                if after != before:
                    notes.replace_acl(work, row, before, after)
            if not rights:
                self.settle_shares()
        return rights

    def settle_shares(self) -> None:
        """Take those out of `shares.db` whom no list names any more."""
        with self._handles.using(self._ref) as opened, opened.lock, opened.db.reading() as connection:
            self._shares.replace(self._ref, notes_queries.identifiers(connection))

    def deleted_bytes(self, mailbox_id: MailboxId) -> int:
        """What an expunge would free."""
        with self._handles.using(self._ref) as opened, opened.db.reading() as connection:
            return notes_queries.deleted_bytes(connection, mailbox_id)
