"""Undelete: what is retained, listed; messages brought back into their mailboxes; the rows made anew from the tree."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

from mailbox_app.errors import StoreError
from mailbox_app.ids import MailboxId, Uid
from mailbox_app.proto.header import Header, decode_words, header_end
from mailbox_app.store.maildir import (
    adopt,
    expunge_queries,
    filenames,
    folders,
    keywords,
    mailboxes,
    names,
    queries,
    retained,
    retained_queries,
    sync,
)
from mailbox_app.store.maildir.opened import OpenAccount, Work, find_message
from mailbox_app.store.maildir.queries import MailboxRow
from mailbox_app.store.maildir.retained_queries import MOVED, WAITING, WITH_MAILBOX, RetainedRow
from mailbox_app.store.maildir.room import Room
from mailbox_app.store.model import KEYWORD_SHIFT, Restored, Retained, RetainedPage, SystemFlag

_ROWS_AT_ONCE = 500
_ROWS_LOOKED_AT = 20_000
"""In one call, when most do not match a text: some 0.3 s of work."""
_ROWS_A_FILE = 20
"""So many rows cost as much as the beginning of a file."""
_HEADER_BYTES = 65_536
_LATEST = (1 << 62, 1 << 62)
_KEPT_FLAGS = 0x1F & ~int(SystemFlag.DELETED)


# listing


def listing(
    opened: OpenAccount, mailbox: str, since: int, text: str, before: tuple[int, int] | None, limit: int
) -> RetainedPage:
    """Carry out `Account.retained`."""
    found: list[Retained] = []
    at, looked_at, wanted = before or _LATEST, 0, text.casefold()
    with opened.db.reading() as connection:
        connection.execute("BEGIN")
        origins = retained_queries.origins(connection)
        ids = [key for key, (name, _) in origins.items() if name == names.canonical(mailbox)] if mailbox else None
        while looked_at < _ROWS_LOOKED_AT:
            rows = retained_queries.listed(connection, ids, since, at, _ROWS_AT_ONCE if wanted else limit)
            for row, header in rows:
                at = (row.expunged_seconds, row.key)
                if not header:  # taken in by a rebuild
                    header = _header_of(opened, row)
                    looked_at += _ROWS_A_FILE
                one = _shown(row, origins.get(row.mailbox_id, ("", ""))[0], header)
                if wanted in one.subject.casefold() or wanted in one.sender.casefold():
                    found.append(one)
                    if len(found) == limit:
                        return RetainedPage(found, at)
            looked_at += len(rows)
            if len(rows) < _ROWS_AT_ONCE:
                return RetainedPage(found, None)
    return RetainedPage(found, at)


def _header_of(opened: OpenAccount, row: RetainedRow) -> bytes:
    """The beginning of its file; nothing of one that cannot be read, which restoring passes over."""
    with suppress(OSError), open(retained.path_of(opened, row), "rb", buffering=0) as file:
        data = file.read(_HEADER_BYTES)
        return data[: header_end(data)]
    return b""


def _shown(row: RetainedRow, mailbox: str, header: bytes) -> Retained:
    fields = Header.parse(header)
    subject, sender = fields.first(b"subject") or b"", fields.first(b"from") or b""
    return Retained(
        row.key,
        mailbox,
        Uid(row.uid),
        row.flags,
        row.size_bytes,
        row.internal_seconds,
        row.expunged_seconds,
        decode_words(subject),
        decode_words(sender),
    )


# restoring


def restore(opened: OpenAccount, ids: Sequence[int], room: Room) -> list[Restored]:
    """Carry out `Account.restore`."""
    folders.synchronise(opened)
    with opened.writing() as work:
        rows = retained_queries.retained_at(work.connection, ids)
        size_bytes = sum(row.size_bytes for row in rows)
        if rows:
            room.check(work.account, size_bytes, len(rows))
        restoring = _Restoring(work)
        for row in rows:
            restoring.add(row)
        restoring.finish(rows)
    return restoring.done


class _Restoring:
    """The messages of one transaction."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._origins = retained_queries.origins(work.connection)
        self._targets: dict[int, MailboxRow] = {}
        self._now = int(work.opened.clock.epoch_seconds())
        self._unique = f"M{time.time_ns() // 1000}P{os.getpid()}Q"
        self._numbers = itertools.count()
        self._rows: list[queries.Row] = []
        self._keys: list[tuple[int, int]] = []
        self._rendered: list[queries.Row] = []
        self.done: list[Restored] = []

    def add(self, row: RetainedRow) -> None:
        """Link one message into its mailbox; one whose file is gone is passed over."""
        work = self._work
        source = self._source(row)
        if source is None:
            return
        target = self._targets.get(row.mailbox_id) or self._target(row.mailbox_id)
        flags = row.flags & _KEPT_FLAGS | self._keywords(row, target)
        work.reserve_uids(target, 1)
        uid = target.uidnext
        unique = f"{self._unique}{next(self._numbers)}"
        stem = filenames.stem(row.internal_seconds, unique, target.mailbox_id, work.opened.host, row.size_bytes, uid)
        path = f"{work.opened.cur(target)}/{filenames.file_name(stem, flags)}"
        os.link(source, path)
        work.created.append(path)
        work.replaced.append(source)
        target.uidnext = uid + 1
        target.message_count += 1
        target.size_bytes += row.size_bytes
        target.unseen_count += not flags & SystemFlag.SEEN
        work.account.used_bytes += row.size_bytes
        work.account.used_messages += 1
        key, modseq = target.base + uid, work.next_modseq(target)
        self._rows.append(
            (key, target.mailbox_id, modseq, flags, row.size_bytes, row.internal_seconds, self._now, flags, stem)
        )
        if queries.is_rendered(work.connection, row.key):
            self._keys.append((key, row.key))
        else:
            with open(path, "rb", buffering=0) as file:
                self._rendered.append(queries.rendered_row(key, adopt.read_file(file)[0]))
        self.done.append(Restored(row.key, MailboxId(target.mailbox_id), target.name, Uid(uid)))

    def finish(self, rows: Sequence[RetainedRow]) -> None:
        """Write the rows; folders that nothing is left in go."""
        connection = self._work.connection
        queries.insert_messages(connection, self._rows, self._rendered)
        queries.copy_rendered(connection, self._keys)
        for row in rows:
            retained.forget(self._work, row)
        retained_queries.drop_retained(connection, [row.key for row in rows])
        retained.tidy(self._work, {row.mailbox_id for row in rows})

    def _source(self, row: RetainedRow) -> str | None:
        opened = self._work.opened
        if row.place == WAITING:
            mailbox = self._work.mailbox(row.mailbox_id)
            self._work.touching(mailbox, new_names=False)
            found = find_message(opened.cur(mailbox), row.stem, row.name_flags)
            if found is not None:
                return found  # else a power cut took the commit of its move, not the move
        path = retained.path_of(opened, row)
        if os.path.exists(path):
            return path
        # a program that worked in a mailbox while it was deleted may have changed letters
        return find_message(os.path.dirname(path), row.stem, row.name_flags) if row.place == WITH_MAILBOX else None

    def _target(self, mailbox_id: int) -> MailboxRow:
        """Its mailbox, or the one that has the name now, or a new one of that name; INBOX when there can be none."""
        work = self._work
        if queries.mailbox_exists(work.connection, mailbox_id):
            row = work.mailbox(mailbox_id)
        else:
            name = self._origins.get(mailbox_id, (names.INBOX, ""))[0]
            row = work.named(name) or self._made(name)
        if not work.touching(row):
            sync.reconcile(work, row)
        self._targets[mailbox_id] = row
        return row

    def _made(self, name: str) -> MailboxRow:
        try:
            return mailboxes.create(self._work, names.canonical(name), None)
        except StoreError as error:
            if error.temporary:
                raise
            return mailboxes.for_delivery(self._work, names.INBOX)

    def _keywords(self, row: RetainedRow, target: MailboxRow) -> int:
        listed = self._origins.get(row.mailbox_id, ("", ""))[1].split()
        wanted = [name for number, name in enumerate(listed) if row.flags >> (KEYWORD_SHIFT + number) & 1]
        return keywords.bits(self._work, target, wanted, drop_surplus=True)


# making the rows anew


def take_in(opened: OpenAccount) -> None:
    """For a rebuild: rows of everything the tree holds of expunged messages, some hundred in a transaction.

    Few of them will ever come back, so their files are not read now: when one is listed or restored.
    """
    for mailbox_id, folder in retained.folders_by_mailbox(opened.root).items():
        origin = retained.read_origin(folder) or retained.Origin(names.INBOX)
        files = _files(folder, origin.deleted_seconds)
        while part := list(itertools.islice(files, sync.ADOPT_LIMIT)):
            with opened.writing(durable=False) as work:
                retained_queries.remember_origin(work.connection, mailbox_id, origin.name, " ".join(origin.keywords))
                for path, stem, flag_letters, seconds, place in part:
                    _take_in(work, mailbox_id, path, (stem, filenames.flags_of(flag_letters), seconds, place))


def _files(folder: str, deleted_seconds: int) -> Iterator[tuple[str, str, str, int, int]]:
    """(path, stem, flag letters, time of the expunge, place)."""
    for name in sorted(os.listdir(folder)):
        stem, flag_letters = filenames.split(name)
        found = filenames.split_expunged(stem)
        if found is not None:
            yield f"{folder}/{name}", found[0], flag_letters, found[1], MOVED
    cur = f"{folder}/{retained.MAILBOX_FOLDER}/cur"
    for name in sorted(os.listdir(cur)) if os.path.isdir(cur) else ():
        stem, flag_letters = filenames.split(name)
        if filenames.uid_of(stem):
            yield f"{cur}/{name}", stem, flag_letters, deleted_seconds, WITH_MAILBOX


def _take_in(work: Work, mailbox_id: int, path: str, facts: tuple[str, int, int, int]) -> None:
    stem, flags, seconds, place = facts
    uid = filenames.uid_of(stem)
    if not uid or os.path.islink(path) or not os.path.isfile(path):
        return
    key = (mailbox_id << queries.UID_BITS) + uid
    if expunge_queries.is_known(work.connection, key):
        return
    facts_of_file = os.stat(path)
    internal = adopt.internal_seconds(stem, facts_of_file)
    retained_queries.insert_retained(
        work.connection, [(key, mailbox_id, seconds, flags, facts_of_file.st_size, internal, flags, stem, place)]
    )
    work.account.retained_bytes += facts_of_file.st_size
    work.account.retained_messages += 1
