"""COPY and MOVE: hard links and rows, all or nothing in one transaction."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence

from mailbox_app.errors import StoreError
from mailbox_app.ids import Modseq, Uid
from mailbox_app.store.maildir import expunge, filenames, keywords, queries, sync
from mailbox_app.store.maildir.opened import OpenAccount, Work, find_message
from mailbox_app.store.maildir.queries import MailboxRow, State
from mailbox_app.store.maildir.room import Room
from mailbox_app.store.model import Copied, SystemFlag


def copy(
    opened: OpenAccount, mailbox_id: int, uids: Sequence[int], target_id: int, *, move: bool, room: Room
) -> Copied:
    """Carry out `Account.copy`."""
    with opened.writing() as work:
        source, target = work.mailbox(mailbox_id), work.mailbox(target_id)
        found = queries.states(work.connection, source, uids)
        size_bytes = sum(state[2] for state in found)
        if not move:
            room.check(work.account, size_bytes, len(found))
        first = transfer(work, source, target, found)
        if move:
            expunge.remove(work, source, found, retain=False)
        modseq = Modseq(source.highest_modseq) if move and found else None
    return Copied(
        target.uidvalidity,
        [Uid(state[0] - source.base) for state in found],
        [Uid(first + number) for number in range(len(found))],
        modseq,
    )


def move_all(work: Work, source: MailboxRow, target: MailboxRow) -> None:
    """Every message of one mailbox into another: how INBOX is renamed."""
    found = queries.states(work.connection, source, None)
    transfer(work, source, target, found)
    expunge.remove(work, source, found, retain=False)


def transfer(work: Work, source: MailboxRow, target: MailboxRow, found: Sequence[State]) -> int:
    """Link the files and copy the rows; the first of the consecutive UIDs they got."""
    opened = work.opened
    if not found:
        return target.uidnext
    if not work.touching(target):
        sync.reconcile(work, target)
    work.reserve_uids(target, len(found))
    first = target.uidnext
    translate = _KeywordMap(work, source, target)
    seconds = dict(queries.internal_dates(work.connection, source, [state[0] - source.base for state in found]))
    modseq = work.next_modseq(target)
    now = int(opened.clock.epoch_seconds())
    from_cur, to_cur = opened.cur(source), opened.cur(target)
    unique = f"M{time.time_ns() // 1000}P{os.getpid()}Q"
    numbers = itertools.count()
    rows: list[queries.Row] = []
    keys: list[tuple[int, int]] = []
    for uid, (key, flags, size_bytes, name_flags, stem) in enumerate(found, first):
        new_flags = translate(flags)
        new_stem = filenames.stem(
            seconds[key], f"{unique}{next(numbers)}", target.mailbox_id, opened.host, size_bytes, uid
        )
        path = f"{to_cur}/{filenames.file_name(new_stem, new_flags)}"
        _link(from_cur, stem, name_flags, path)
        work.created.append(path)
        new_key = target.base + uid
        rows.append((new_key, target.mailbox_id, modseq, new_flags, size_bytes, seconds[key], now, new_flags, new_stem))
        keys.append((new_key, key))
        target.unseen_count += not new_flags & SystemFlag.SEEN
        target.deleted_count += bool(new_flags & SystemFlag.DELETED)
        target.size_bytes += size_bytes
        work.account.used_bytes += size_bytes
    target.uidnext = first + len(found)
    target.message_count += len(found)
    work.account.used_messages += len(found)
    queries.insert_messages(work.connection, rows, [])
    queries.copy_rendered(work.connection, keys)
    return first


def _link(cur: str, stem: str, name_flags: int, path: str) -> None:
    try:
        os.link(f"{cur}/{filenames.file_name(stem, name_flags)}", path)
    except FileNotFoundError as error:
        found = find_message(cur, stem, name_flags)
        if found is None:
            raise StoreError("store.no_such_message", "a message is gone", temporary=True) from error
        os.link(found, path)


class _KeywordMap:
    """Flags of one mailbox as flags of another: the letters differ, and a full list takes no more."""

    def __init__(self, work: Work, source: MailboxRow, target: MailboxRow) -> None:
        self._work, self._source, self._target = work, source, target
        self._known: dict[int, int] = {}

    def __call__(self, flags: int) -> int:
        result = self._known.get(flags)
        if result is None:
            names = keywords.names_of(self._source, flags)
            result = flags & 0x1F | keywords.bits(self._work, self._target, names, drop_surplus=True)
            self._known[flags] = result
        return result
