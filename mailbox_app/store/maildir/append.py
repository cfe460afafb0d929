"""Delivery: staged files get UIDs and rows in one transaction, and their places before it commits.

One over quota, or one whose mailbox or staged file is missing, fails alone unless all or none was asked for. If the
commit fails all of them do, and nothing is left behind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mailbox_app.errors import StoreError
from mailbox_app.ids import MailboxId, Modseq, Uid
from mailbox_app.store.interface import NewMessage
from mailbox_app.store.maildir import expunge, filenames, folders, keywords, mailboxes, queries, sync
from mailbox_app.store.maildir.files import translated, unlink_quietly
from mailbox_app.store.maildir.opened import OpenAccount, Work
from mailbox_app.store.maildir.queries import MailboxRow
from mailbox_app.store.maildir.room import Room
from mailbox_app.store.model import Appended, Replaced, SystemFlag

_SYSTEM_FLAGS = 0x1F
_SEEN, _DELETED = int(SystemFlag.SEEN), int(SystemFlag.DELETED)


def append(
    opened: OpenAccount, messages: Sequence[NewMessage], room: Room, *, atomic: bool
) -> list[Appended | Exception]:
    """Carry out `Account.append`."""
    results: list[Appended | Exception] = []
    with _delivering(opened, messages, room) as delivery:
        for message in messages:
            try:
                results.append(delivery.add(message))
            except StoreError as error:
                if atomic:
                    raise
                unlink_quietly(message.staged.path)
                results.append(error)
    return results


def replace(opened: OpenAccount, mailbox_id: int, uid: int, message: NewMessage, room: Room) -> Replaced:
    """Carry out `Account.replace`."""
    with _delivering(opened, [message], room) as delivery:
        work = delivery.work
        row = work.mailbox(mailbox_id)
        found = queries.states(work.connection, row, [uid])
        if not found:
            raise StoreError("store.no_such_message", "no such message")
        size_bytes = found[0][2]
        work.account.used_messages -= 1
        work.account.used_bytes -= size_bytes  # so that the new one needs room for the difference only
        appended = delivery.add(message)
        work.account.used_messages += 1
        work.account.used_bytes += size_bytes
        expunge.remove(work, row, found, retain=True)
        return Replaced(appended, Modseq(row.highest_modseq))


@contextmanager
def _delivering(opened: OpenAccount, messages: Sequence[NewMessage], room: Room) -> Iterator[_Delivery]:
    """One transaction of deliveries; when it fails no staged file is left."""
    try:
        with opened.writing() as work:
            rubbish = folders.reconcile(work) if folders.are_stale(opened, work.account) else []
            delivery = _Delivery(work, room)
            yield delivery
            delivery.insert()
    except BaseException:
        for message in messages:
            unlink_quietly(message.staged.path)
        raise
    folders.remove(rubbish)


class _Delivery:
    """The messages of one transaction."""

    def __init__(self, work: Work, room: Room) -> None:
        self.work = work
        self._room = room
        self._now = int(work.opened.clock.epoch_seconds())
        self._rows: dict[int | str, MailboxRow] = {}
        self._messages: list[queries.Row] = []
        self._rendered: list[queries.Row] = []

    def add(self, message: NewMessage) -> Appended:
        """Move one staged file into place; raises `StoreError` when this one cannot be taken."""
        staged, work = message.staged, self.work
        row = self._rows.get(message.mailbox) or self._ready(message.mailbox)
        account, size_bytes = work.account, staged.size_bytes
        self._room.check(account, size_bytes)
        flags = message.flags & _SYSTEM_FLAGS
        if message.keywords:
            flags |= keywords.bits(work, row, message.keywords)
        work.reserve_uids(row, 1)
        uid = row.uidnext
        seconds = self._now if message.internal_seconds is None else message.internal_seconds
        unique = staged.path.rsplit("/", 1)[1].split(".", 2)[1]
        stem = filenames.stem(seconds, unique, row.mailbox_id, work.opened.host, size_bytes, uid)
        target = f"{work.opened.cur(row)}/{filenames.file_name(stem, flags)}"
        try:
            if message.internal_seconds is not None:
                os.utime(staged.path, (seconds, seconds))
            os.rename(staged.path, target)
        except OSError as error:
            raise translated(error) from error
        work.created.append(target)
        if not staged.synced:
            work.sync_file(target)
        row.uidnext = uid + 1
        row.message_count += 1
        row.size_bytes += size_bytes
        row.unseen_count += not flags & _SEEN
        row.deleted_count += bool(flags & _DELETED)
        account.used_bytes += size_bytes
        account.used_messages += 1
        modseq = work.next_modseq(row)
        rendered, key = staged.rendered, row.base + uid
        self._messages.append((key, row.mailbox_id, modseq, flags, size_bytes, seconds, self._now, flags, stem))
        self._rendered.append(queries.rendered_row(key, rendered))
        return Appended(MailboxId(row.mailbox_id), row.uidvalidity, Uid(uid), Modseq(modseq))

    def insert(self) -> None:
        """Write the rows."""
        queries.insert_messages(self.work.connection, self._messages, self._rendered)

    def _ready(self, mailbox: int | str) -> MailboxRow:
        """The mailbox, and its directory as the rows say: leftovers of a cut-off delivery would take our UIDs."""
        work = self.work
        row = work.mailbox(mailbox) if isinstance(mailbox, int) else mailboxes.for_delivery(work, mailbox)
        if not work.touching(row):
            sync.reconcile(work, row)
        self._rows[mailbox] = row
        return row
