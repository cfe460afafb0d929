"""Making, renaming, deleting and listing mailboxes: rows and folders together.

Folders move inside the transaction and are put back when it fails. A process killed in between leaves folders whose
`mailbox.json` tells whose they are; `folders.synchronise` settles that at the next listing.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from functools import partial

from mailbox_app.errors import StoreError
from mailbox_app.ids import MailboxId, Modseq, Uid
from mailbox_app.store.maildir import names, notes, queries, retained
from mailbox_app.store.maildir.files import make_maildir, mtime_of
from mailbox_app.store.maildir.metadata import write_subscriptions
from mailbox_app.store.maildir.opened import OpenAccount, Work
from mailbox_app.store.maildir.queries import MailboxRow
from mailbox_app.store.model import MailboxInfo, SpecialUse

DELETED_PREFIX = "deleted."
"""What a folder is called between the deletion of its mailbox and its removal; no Maildir++ folder begins so."""
MAX_MAILBOXES = 10_000
"""A client cannot fill the disk with empty folders."""


def info(row: MailboxRow, subscribed: bool) -> MailboxInfo:
    """The row as sessions see it."""
    return MailboxInfo(
        mailbox_id=MailboxId(row.mailbox_id),
        name=row.name,
        uidvalidity=row.uidvalidity,
        uidnext=Uid(row.uidnext),
        highest_modseq=Modseq(row.highest_modseq),
        message_count=row.message_count,
        unseen_count=row.unseen_count,
        deleted_count=row.deleted_count,
        size_bytes=row.size_bytes,
        first_recent_uid=Uid(row.first_recent_uid),
        subscribed=subscribed,
        special_use=SpecialUse(row.special_use) if row.special_use else None,
        keywords=row.keyword_names,
    )


def infos(connection: sqlite3.Connection) -> list[MailboxInfo]:
    """All mailboxes by name, INBOX first."""
    subscribed = set(queries.subscriptions(connection))
    rows = queries.all_mailboxes(connection)
    rows.sort(key=lambda row: (row.name != names.INBOX, row.name))
    return [info(row, row.name in subscribed) for row in rows]


def for_delivery(work: Work, name: str) -> MailboxRow:
    """By name; INBOX and mailboxes with a role are found by their role and made when absent."""
    name = names.canonical(name)
    row = work.named(name)
    if row is not None:
        return row
    role = next((use for use in SpecialUse if use.value == name), None)
    if role is None:
        raise no_such_mailbox()
    row = queries.find_special(work.connection, role.value)
    return work.adopt_row(row) if row is not None else create(work, name, role)


def create(work: Work, name: str, special_use: SpecialUse | None) -> MailboxRow:
    """Make a mailbox and its missing parents; the name is canonical."""
    if work.named(name) is not None:
        raise StoreError("store.mailbox_exists", "the mailbox exists already")
    if len(queries.all_mailboxes(work.connection)) >= MAX_MAILBOXES:
        raise StoreError("store.too_many_mailboxes", "the account has too many mailboxes")
    for parent in names.parents(name):
        if work.named(parent) is None:
            _make(work, parent, None)
    return _make(work, name, special_use)


def _make(work: Work, name: str, special_use: SpecialUse | None) -> MailboxRow:
    work.touching_folders()
    folder = names.folder_of(name)
    path = os.path.join(work.opened.maildir, folder)
    if os.path.exists(path):
        raise StoreError("store.mailbox_exists", "the mailbox exists already")
    work.undo.append(partial(shutil.rmtree, path, ignore_errors=True))
    make_maildir(path)
    with open(os.path.join(path, "maildirfolder"), "wb"):
        """Maildir++: tells delivery agents that this is no account's root."""
    mailbox_id, uidvalidity = work.new_identity()
    row = new_row(mailbox_id, name, folder, uidvalidity)
    row.special_use = special_use.value if special_use else None
    row.cur_mtime, row.new_mtime = mtime_of(f"{path}/cur"), mtime_of(f"{path}/new")
    row.expunged_floor = work.next_modseq(row)
    queries.insert_mailbox(work.connection, row)
    work.write_facts(row)
    parent = notes.parent_of(work, name)
    if parent is not None:
        notes.inherit(work, row, parent)
    return work.adopt_row(row)


def new_row(mailbox_id: int, name: str, folder: str, uidvalidity: int) -> MailboxRow:
    """The row of an empty mailbox."""
    return MailboxRow(
        mailbox_id=mailbox_id,
        name=name,
        folder=folder,
        uidvalidity=uidvalidity,
        uidnext=1,
        uid_reserved=1,
        highest_modseq=0,
        expunged_floor=0,
        message_count=0,
        unseen_count=0,
        deleted_count=0,
        size_bytes=0,
        first_recent_uid=1,
        special_use=None,
        keywords="",
        cur_mtime=0,
        new_mtime=0,
    )


def rename(work: Work, old: str, new: str, move_all: Callable[[Work, MailboxRow, MailboxRow], None]) -> None:
    """Rename a mailbox with its children; of INBOX move the messages only, by `move_all`. Names are canonical."""
    row = work.named(old)
    if new == names.INBOX or new.startswith(old + "/"):
        raise names.bad_name("it cannot become that")
    if work.named(new) is not None:
        raise StoreError("store.mailbox_exists", "the mailbox exists already")
    if row is not None and old == names.INBOX:
        move_all(work, row, create(work, new, None))
        return
    moves = [] if row is None else [(row, new)]
    for other in queries.all_mailboxes(work.connection):
        if other.name.startswith(old + "/"):
            target = names.canonical(new + other.name[len(old) :])
            if work.named(target) is not None:
                raise StoreError("store.mailbox_exists", "the mailbox exists already")
            moves.append((work.adopt_row(other), target))
    if not moves:  # a name without a mailbox may still have children
        raise no_such_mailbox()
    for parent in names.parents(new):
        if work.named(parent) is None:
            _make(work, parent, None)
    work.touching_folders()
    for moved, target in moves:
        _move_folder(work, moved, target)


def _move_folder(work: Work, row: MailboxRow, name: str) -> None:
    folder = names.folder_of(name)
    source, target = work.opened.folder(row), os.path.join(work.opened.maildir, folder)
    if os.path.exists(target):
        raise StoreError("store.mailbox_exists", "the mailbox exists already")
    os.rename(source, target)
    work.undo.append(partial(os.rename, target, source))
    row.name, row.folder = name, folder
    queries.save_mailbox_name(work.connection, row)
    work.next_modseq(row)


def delete(work: Work, name: str) -> str | None:
    """Delete one mailbox (canonical name); the path to remove after the commit, if its messages are not retained."""
    if name == names.INBOX:
        raise names.bad_name("INBOX cannot be deleted")
    row = work.named(name)
    if row is None:
        raise no_such_mailbox()
    work.touching_folders()
    if retained.take_mailbox(work, row):
        drop_row(work, row)
        return None
    source = work.opened.folder(row)
    target = os.path.join(work.opened.maildir, f"{DELETED_PREFIX}{row.mailbox_id}.{time.time_ns()}")
    os.rename(source, target)
    work.undo.append(partial(os.rename, target, source))
    drop_row(work, row)
    return target


def drop_row(work: Work, row: MailboxRow) -> None:
    """Take a mailbox and its messages out of the index and of the account's counts."""
    work.next_modseq(row)
    work.account.used_bytes -= row.size_bytes
    work.account.used_messages -= row.message_count
    queries.delete_mailbox(work.connection, row)
    work.forget_row(row)


def set_special_use(work: Work, mailbox_id: int, use: SpecialUse | None) -> None:
    """Say what a mailbox is for; only one may be for each use."""
    row = work.mailbox(mailbox_id)
    if use is not None:
        other = queries.find_special(work.connection, use.value)
        if other is not None and other.mailbox_id != mailbox_id:
            raise StoreError("store.use_taken", "another mailbox has this use")
    row.special_use = use.value if use else None
    work.write_facts(row)
    if row.folder == "":
        work.touching_folders()
    work.visible = True


def subscribe(opened: OpenAccount, name: str, subscribed: bool) -> None:
    """Carry out `Account.subscribe`."""
    name = names.canonical(name)
    with opened.writing() as work:
        if subscribed and len(queries.subscriptions(work.connection)) >= MAX_MAILBOXES:
            raise StoreError("store.too_many_mailboxes", "the account has too many subscriptions")
        queries.subscribe(work.connection, name, subscribed)
        work.touching_folders()  # the subscriptions file is at the root
        write_subscriptions(opened.maildir, queries.subscriptions(work.connection))
        work.visible = True


def no_such_mailbox() -> StoreError:
    """The error for a name or an id that stands for nothing."""
    return StoreError("store.no_such_mailbox", "no such mailbox")
