"""Expunged messages on their way out: hidden for some days, outside the quota, until `purge` removes them for good.

Expunging only changes rows. Files follow in the background (`move_files`) into the account's folder `expunged`, which no
Maildir program looks into and a rebuild does not take messages from:

    expunged/<mailbox id>/origin.json                       what the mailbox is called, its keywords
    expunged/<mailbox id>/<stem>,E=<seconds>:2,<flags>      a message and when it was expunged
    expunged/<mailbox id>/mailbox/                          the whole folder of a deleted mailbox

So the index is disposable here too: name, UID, flags and time are all in the tree.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import msgspec

from mailbox_app.store.maildir import expunge_queries, filenames, queries, retained_queries
from mailbox_app.store.maildir.files import fsync_directory, unlink_quietly, write_durably
from mailbox_app.store.maildir.metadata import read_facts
from mailbox_app.store.maildir.opened import OpenAccount, Work
from mailbox_app.store.maildir.queries import MailboxRow
from mailbox_app.store.maildir.retained_queries import MOVED, WITH_MAILBOX, RetainedRow

FOLDER = "expunged"
MAILBOX_FOLDER = "mailbox"
ORIGIN_FILE = "origin.json"
_MOVES_AT_ONCE = 200
_PURGED_AT_ONCE = 200
_DAY_SECONDS = 86_400
_TIGHT_SHARE = 0.02
"""Of the file system free: below it expunged messages are removed, so that expunging makes room."""


class Origin(msgspec.Struct, frozen=True):
    """`origin.json`: a mailbox with retained messages. `deleted_seconds`: when the mailbox itself was deleted, or 0."""

    name: str
    keywords: tuple[str, ...] = ()
    deleted_seconds: int = 0


def keep_chosen(work: Work, row: MailboxRow, chosen: expunge_queries.Chosen) -> None:
    """Retain the messages of `chosen`, whose rows go next; their files follow."""
    retained_queries.retain_chosen(work.connection, int(work.opened.clock.epoch_seconds()))
    _count(work, row, chosen.size_bytes, chosen.message_count)


def take_mailbox(work: Work, row: MailboxRow) -> bool:
    """Retain all of a mailbox that is being deleted, with its folder; False when there is nothing to retain."""
    opened = work.opened
    waiting = bool(retained_queries.waiting_stems(work.connection, row.mailbox_id))
    if not opened.retention().days or not (row.message_count or waiting):
        return False
    now = int(opened.clock.epoch_seconds())
    folder = _make_folder(opened, row, now)
    source, target = opened.folder(row), os.path.join(folder, MAILBOX_FOLDER)
    os.rename(source, target)
    work.undo.append(partial(os.rename, target, source))
    work.sync_directory(folder)
    expunge_queries.choose_mailbox(work.connection, row)
    retained_queries.retain_chosen(work.connection, now, WITH_MAILBOX)
    retained_queries.waiting_went_along(work.connection, row.mailbox_id)
    _count(work, row, row.size_bytes, row.message_count)
    return True


def put_back_folder(opened: OpenAccount, row: MailboxRow) -> bool:
    """The folder of a mailbox whose deletion was cut off before its commit."""
    try:
        os.rename(os.path.join(_folder(opened, row.mailbox_id), MAILBOX_FOLDER), opened.folder(row))
    except FileNotFoundError:
        return False
    return True


def gave_back(work: Work, mailbox_id: int) -> None:
    """Somebody put the folder of a deleted mailbox back by hand: what is in it is no longer retained."""
    rows = retained_queries.with_mailbox(work.connection, mailbox_id)
    for row in rows:
        forget(work, row)
    retained_queries.drop_retained(work.connection, [row.key for row in rows])


def path_of(opened: OpenAccount, row: RetainedRow) -> str:
    """Where the file of a message is that does not wait in its mailbox any more."""
    folder = _folder(opened, row.mailbox_id)
    if row.place == WITH_MAILBOX:
        return f"{folder}/{MAILBOX_FOLDER}/cur/{filenames.file_name(row.stem, row.name_flags)}"
    return f"{folder}/{filenames.file_name(filenames.expunged_stem(row.stem, row.expunged_seconds), row.flags)}"


def move_files(opened: OpenAccount) -> bool:
    """Move one batch of files out of their mailboxes; whether more may wait.

    The commit need not reach the disk: `sync` knows a file that came back by its name and has it moved again.
    """
    with opened.db.reading() as connection:
        if not retained_queries.waiting(connection, 1):
            return False
    with opened.writing(durable=False) as work:
        rows = retained_queries.waiting(work.connection, _MOVES_AT_ONCE)
        for mailbox_id, group in itertools.groupby(rows, key=lambda row: row.mailbox_id):
            _move(work, work.mailbox(mailbox_id), list(group))
    return len(rows) == _MOVES_AT_ONCE


def _move(work: Work, row: MailboxRow, rows: Sequence[RetainedRow]) -> None:
    opened = work.opened
    work.touching(row, new_names=False)
    _make_folder(opened, row, 0)
    cur, names, moved = opened.cur(row), None, []
    for each in rows:
        target = path_of(opened, each)
        source = f"{cur}/{filenames.file_name(each.stem, each.name_flags)}"
        try:
            os.rename(source, target)
        except FileNotFoundError:
            if names is None:  # other programs renamed it, or it is there already: one look for all of them
                names = {filenames.split(name)[0]: name for name in os.listdir(cur)}
            if each.stem in names:
                source = f"{cur}/{names[each.stem]}"
                os.rename(source, target)
                work.undo.append(partial(os.rename, target, source))
        else:
            work.undo.append(partial(os.rename, target, source))
        moved.append(each.key)  # one that is nowhere is found out when somebody wants it back
    retained_queries.set_places(work.connection, MOVED, moved)


def purge(opened: OpenAccount, quota_bytes: int) -> bool:
    """Remove one batch of what is too old or beyond the space, oldest first; whether more waits."""
    rule = opened.retention()
    cutoff = int(opened.clock.epoch_seconds()) - rule.days * _DAY_SECONDS
    bound = 0 if _is_tight(opened.root) else rule.bound_bytes(quota_bytes)
    with opened.db.reading() as connection:
        account = queries.load_account(connection)
        oldest = retained_queries.oldest(connection, 1)
    if account is None or not oldest:
        return False
    if oldest[0].expunged_seconds > cutoff and account.retained_bytes <= bound:
        return False
    with opened.writing(durable=False) as work:
        gone: list[RetainedRow] = []
        for row in retained_queries.oldest(work.connection, _PURGED_AT_ONCE):
            if row.expunged_seconds > cutoff and work.account.retained_bytes <= bound:
                break
            unlink_quietly(path_of(opened, row))
            forget(work, row)
            gone.append(row)
        retained_queries.drop_retained(work.connection, [row.key for row in gone])
        tidy(work, {row.mailbox_id for row in gone})
    return len(gone) == _PURGED_AT_ONCE


def _is_tight(path: str) -> bool:
    """Whether the file system has so little left that mail somebody wants comes before mail somebody threw away."""
    found = os.statvfs(path)
    return found.f_bavail < found.f_blocks * _TIGHT_SHARE


def forget(work: Work, row: RetainedRow) -> None:
    """It no longer counts."""
    work.account.retained_bytes -= row.size_bytes
    work.account.retained_messages -= 1


def tidy(work: Work, mailbox_ids: set[int]) -> None:
    """Folders of mailboxes of which nothing is retained any more go with the commit."""
    for mailbox_id in sorted(mailbox_ids):
        if not retained_queries.has_retained(work.connection, mailbox_id):
            retained_queries.forget_origin(work.connection, mailbox_id)
            work.rubbish.append(_folder(work.opened, mailbox_id))


def read_origin(folder: str) -> Origin | None:
    """The folder's `origin.json`; None when absent or unreadable."""
    return read_facts(folder, ORIGIN_FILE, Origin)


def folders_by_mailbox(root: str) -> dict[int, str]:
    """{mailbox id: path} of what the tree holds of expunged messages."""
    found: dict[int, str] = {}
    with suppress(FileNotFoundError), os.scandir(os.path.join(root, FOLDER)) as entries:
        for entry in entries:
            if entry.name.isascii() and entry.name.isdigit() and entry.is_dir(follow_symlinks=False):
                found[int(entry.name)] = entry.path
    return found


def _folder(opened: OpenAccount, mailbox_id: int) -> str:
    return f"{opened.root}/{FOLDER}/{mailbox_id}"


def _make_folder(opened: OpenAccount, row: MailboxRow, deleted_seconds: int) -> str:
    """The mailbox's folder of expunged messages, with its facts up to date."""
    folder = _folder(opened, row.mailbox_id)
    origin = Origin(row.name, row.keyword_names, deleted_seconds)
    if read_origin(folder) != origin:
        if not os.path.isdir(folder):
            os.makedirs(folder, 0o700, exist_ok=True)
            fsync_directory(os.path.dirname(folder))
            fsync_directory(opened.root)
        write_durably(folder, ORIGIN_FILE, msgspec.json.encode(origin))
    return folder


def _count(work: Work, row: MailboxRow, size_bytes: int, message_count: int) -> None:
    retained_queries.remember_origin(work.connection, row.mailbox_id, row.name, row.keywords)
    work.account.retained_bytes += size_bytes
    work.account.retained_messages += message_count
