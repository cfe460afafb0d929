"""Annotations and access lists: small files in the mailboxes' folders, and the same in the index.

A file is written before the index commits and put back when it fails. A folder whose mailbox keeps its identity brings
its files with it; a copy of a folder brings its annotations but starts private.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial

from mailbox_app.errors import StoreError
from mailbox_app.ids import MailboxId
from mailbox_app.store.maildir import notes_queries, queries
from mailbox_app.store.maildir.files import unlink_quietly
from mailbox_app.store.maildir.metadata import (
    ACCOUNT_ANNOTATIONS_FILE,
    ACL_FILE,
    ANNOTATIONS_FILE,
    read_acl,
    read_annotations,
    write_acl,
    write_annotations,
)
from mailbox_app.store.maildir.opened import Work
from mailbox_app.store.maildir.queries import MailboxRow
from mailbox_app.store.notes import (
    ACCOUNT_NOTES,
    MAX_ACCOUNT_BYTES,
    MAX_ENTRIES,
    MAX_MAILBOX_BYTES,
)


def adopt(work: Work, row: MailboxRow, path: str, *, same_identity: bool) -> None:
    """Take over what a folder that just got its row brings with it."""
    annotations = read_annotations(path)
    if annotations:
        notes_queries.replace_annotations(work.connection, row.mailbox_id, annotations)
    if row.folder == "":
        account = read_annotations(path, ACCOUNT_ANNOTATIONS_FILE)
        notes_queries.replace_annotations(work.connection, ACCOUNT_NOTES, account)
    if same_identity:
        notes_queries.replace_acl(work.connection, row.mailbox_id, read_acl(path))
    else:
        unlink_quietly(os.path.join(path, ACL_FILE))


def inherit(work: Work, row: MailboxRow, parent: MailboxRow) -> None:
    """A new mailbox is as open as the one above it."""
    entries = notes_queries.acl(work.connection, parent.mailbox_id)
    if entries:
        replace_acl(work, row, {}, entries)


def replace_acl(work: Work, row: MailboxRow, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Write the new access list; on failure the old one comes back."""
    folder = work.opened.folder(row)
    if row.folder == "":
        work.touching_folders()
    _put(work, ACL_FILE, folder, bool(before), partial(write_acl, folder, before))
    write_acl(folder, after)
    notes_queries.replace_acl(work.connection, row.mailbox_id, after)
    work.visible = True


def replace_annotations(
    work: Work, mailbox_id: MailboxId, before: Mapping[str, bytes], after: Mapping[str, bytes]
) -> None:
    """Write the new annotations; on failure the old ones come back."""
    if mailbox_id == ACCOUNT_NOTES:
        folder, name = work.opened.maildir, ACCOUNT_ANNOTATIONS_FILE
    else:
        folder, name = work.opened.folder(work.mailbox(mailbox_id)), ANNOTATIONS_FILE
    if folder == work.opened.maildir:
        work.touching_folders()
    _put(work, name, folder, bool(before), partial(write_annotations, folder, before, name))
    write_annotations(folder, after, name)
    notes_queries.replace_annotations(work.connection, mailbox_id, after)
    work.visible = True


def differences(work: Work, row: MailboxRow) -> list[str]:
    """Which of the mailbox's files say something else than the index."""
    folder, found = work.opened.folder(row), []
    if read_annotations(folder) != notes_queries.entries(work.connection, row.mailbox_id):
        found.append(f"{ANNOTATIONS_FILE} differs from the index")
    if read_acl(folder) != notes_queries.acl(work.connection, row.mailbox_id):
        found.append(f"{ACL_FILE} differs from the index")
    return found


def _put(work: Work, name: str, folder: str, existed: bool, restore: Callable[[], None]) -> None:
    """What brings the file back when the transaction fails."""
    work.undo.append(restore if existed else partial(unlink_quietly, os.path.join(folder, name)))


def check_room(work: Work, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> None:
    """Raise `store.too_many_notes` when they grow beyond what is allowed."""
    growth = sum(map(len, after.values())) - sum(map(len, before.values()))
    if growth <= 0 and len(after) <= len(before):
        return
    if (
        len(after) > MAX_ENTRIES
        or sum(map(len, after.values())) > MAX_MAILBOX_BYTES
        or notes_queries.annotation_bytes(work.connection) + growth > MAX_ACCOUNT_BYTES
    ):
        raise StoreError("store.too_many_notes", "no room for more annotations")


def parent_of(work: Work, name: str) -> MailboxRow | None:
    """The mailbox right above a name."""
    above = name.rpartition("/")[0]
    return queries.find_mailbox(work.connection, above) if above else None
