"""Making the tree of a new account, and making an index from nothing but the tree.

A new account is an empty tree whose index is then rebuilt, so there is one way to an index. The new one is filled beside
the old and takes its place by rename; the old one's log is removed before, because SQLite would apply it to the new
file (a process that still has the old file open sees that it was moved and leaves the log's name alone). A process
killed in between leaves no index, which is rebuilt at the next opening. The caller holds the account's lock.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from mailbox_app.db.sqlite import Database
from mailbox_app.errors import StoreError
from mailbox_app.store.maildir import flags, folders, names, queries, restoring, retained, sync
from mailbox_app.store.maildir.files import fsync_directory, make_maildir, unlink_quietly
from mailbox_app.store.maildir.metadata import (
    AccountFile,
    MailboxFile,
    read_account,
    read_mailbox,
    read_subscriptions,
    write_account,
    write_mailbox,
    write_subscriptions,
)
from mailbox_app.store.maildir.opened import OpenAccount
from mailbox_app.store.maildir.queries import AccountRow
from mailbox_app.store.maildir.schema import MIGRATIONS
from mailbox_app.store.model import SpecialUse

_FIRST_MAILBOXES = (
    SpecialUse.SENT,
    SpecialUse.DRAFTS,
    SpecialUse.JUNK,
    SpecialUse.TRASH,
    SpecialUse.ARCHIVE,
)
REBUILT_INDEX = "index.db.rebuilt"


def make_tree(maildir: str, now_seconds: int) -> None:
    """INBOX and the mailboxes with a role, subscribed; started again when it was cut off."""
    make_maildir(maildir)
    next_id = 1
    for use in (None, *_FIRST_MAILBOXES):
        name = use.value if use else names.INBOX
        path = os.path.join(maildir, names.folder_of(name)) if use else maildir
        if use:
            make_maildir(path)
            with open(os.path.join(path, "maildirfolder"), "wb"):
                """Maildir++: tells delivery agents that this is no account's root."""
        facts = read_mailbox(path)
        if facts is None:
            facts = MailboxFile(next_id, now_seconds, 1, use.value if use else None)
            write_mailbox(path, facts)
        next_id = max(next_id, facts.mailbox_id) + 1
    subscribed = read_subscriptions(maildir)
    first = [names.INBOX, *(use.value for use in _FIRST_MAILBOXES)]
    write_subscriptions(maildir, sorted({*subscribed, *first}))
    write_account(maildir, AccountFile(next_id, now_seconds))


def rebuild(make_opened: Callable[[str], OpenAccount], root: str, progress: Callable[[int], None] | None = None) -> int:
    """Fill a new index from the tree and put it in the old one's place; the number of messages.

    `make_opened(path)` opens the account with another index file.
    """
    path = os.path.join(root, REBUILT_INDEX)
    _remove_index(path)
    modseq = _last_modseq(os.path.join(root, "index.db"))
    if modseq:
        _settle(make_opened, os.path.join(root, "index.db"))
    opened = make_opened(path)
    try:
        count = _fill(opened, modseq, progress)
    finally:
        opened.close()  # the last connection copies the log into the file
    if os.path.exists(f"{path}-wal"):
        raise StoreError("store.failed", "an index could not be rebuilt", temporary=True)
    final = os.path.join(root, "index.db")
    with suppress(FileNotFoundError):
        os.rename(final, final + ".old")
    for suffix in ("-wal", "-shm"):
        unlink_quietly(final + suffix)
    os.rename(path, final)
    fsync_directory(root)
    unlink_quietly(final + ".old")
    return count


def _settle(make_opened: Callable[[str], OpenAccount], path: str) -> None:
    """What the old index knows and the tree does not yet: removed messages, which the tree alone would bring back, and
    flags that file names still have to follow."""
    with suppress(StoreError):  # what cannot be read any more cannot be carried out
        old = make_opened(path)
        try:
            old.bury_leftovers()
            while retained.move_files(old):
                pass
            while flags.write_names(old):
                pass
        finally:
            old.close()


def _fill(opened: OpenAccount, modseq: int, progress: Callable[[int], None] | None) -> int:
    now = opened.clock.epoch_seconds()
    facts = read_account(opened.maildir) or AccountFile(1, int(now))
    next_id = max(facts.next_mailbox_id, folders.highest_mailbox_id(opened.maildir) + 1)
    # Modseqs must not go back, not even without an old index to ask: milliseconds grow faster than changes do.
    first = max(modseq + 1, int(now * 1000))
    with opened.db.transaction() as connection:
        queries.insert_account(connection, AccountRow(first, 0, 0, next_id, facts.last_uidvalidity, 0))
        for name in read_subscriptions(opened.maildir):
            with suppress(StoreError):  # a line somebody else wrote
                queries.subscribe(connection, names.canonical(name), True)
    with opened.writing() as work:
        if work.named(names.INBOX) is None:
            folders.adopt_folder(work, names.INBOX, "", read_mailbox(opened.maildir))
        folders.reconcile(work)
    with opened.db.reading() as connection:
        mailboxes = [row.mailbox_id for row in queries.all_mailboxes(connection)]
    for mailbox_id in mailboxes:
        while _take_batch(opened, mailbox_id, progress):
            pass
    restoring.take_in(opened)
    with opened.db.reading() as connection:
        account = queries.load_account(connection)
    return account.used_messages if account else 0


def _take_batch(opened: OpenAccount, mailbox_id: int, progress: Callable[[int], None] | None) -> bool:
    with opened.writing() as work:
        row = work.mailbox(mailbox_id)
        left = sync.reconcile(work, row, rebuilding=True)
        row.first_recent_uid = row.uidnext
        row.expunged_floor = row.highest_modseq
        used = work.account.used_messages
    if progress is not None:
        progress(used)
    return left > 0


def _last_modseq(path: str) -> int:
    """The old index's modseq when it can still be read, else 0."""
    if not os.path.exists(path):
        return 0
    try:
        old = Database(path, MIGRATIONS, busy_seconds=1.0)
    except StoreError:
        return 0
    account = None
    with suppress(StoreError), old.reading() as connection:
        account = queries.load_account(connection)
    old.close()
    return account.modseq if account else 0


def _remove_index(path: str) -> None:
    for suffix in ("", "-wal", "-shm"):
        unlink_quietly(path + suffix)
