"""What sessions read: flag state, changes, rendered columns, message files. No lock; only foreign changes cost one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from mailbox_app.errors import StoreError
from mailbox_app.ids import Modseq, Uid
from mailbox_app.store.maildir import filenames, mailboxes, names, queries, sync
from mailbox_app.store.maildir.files import readable_at_least
from mailbox_app.store.maildir.opened import OpenAccount, find_message
from mailbox_app.store.model import Changes, MailboxInfo, Message

_TRIES = 3
"""How often a file is looked up anew when it was renamed between the query and the open."""


def mailbox(opened: OpenAccount, name: str) -> MailboxInfo:
    """Carry out `Account.mailbox`."""
    name = names.canonical(name)
    with opened.db.reading() as connection:
        row = queries.find_mailbox(connection, name)
    if row is None:
        raise mailboxes.no_such_mailbox()
    with readable_at_least():
        sync.synchronise(opened, row.mailbox_id)
    with opened.db.reading() as connection:
        row = queries.load_mailbox(connection, row.mailbox_id)
        return mailboxes.info(row, queries.is_subscribed(connection, row.name))


def changes(opened: OpenAccount, mailbox_id: int, since: int) -> Changes:
    """Carry out `Account.changes`; who asks from before the log's floor gets everything."""
    try:
        with readable_at_least():
            sync.synchronise(opened, mailbox_id)
        with opened.db.reading() as connection:
            connection.execute("BEGIN")
            row = queries.load_mailbox(connection, mailbox_id)
            changed: Sequence[tuple[int, int, int]] = ()
            expunged: Sequence[int] = ()
            complete = since >= row.expunged_floor
            if not complete:
                changed = queries.flag_state(connection, row)
                present = {uid for uid, _, _ in changed}
                expunged = [uid for uid in range(1, row.uidnext) if uid not in present]
            elif since < row.highest_modseq:
                changed = queries.changed_since(connection, row, since)
                expunged = queries.expunged_since(connection, row, since)
    except StoreError as error:
        if error.code == "store.no_such_mailbox":
            return Changes((), (), Modseq(since), Uid(1), (), exists=False)
        raise
    return Changes(
        [(Uid(uid), flags, Modseq(modseq)) for uid, flags, modseq in changed],
        [Uid(uid) for uid in expunged],
        Modseq(row.highest_modseq),
        Uid(row.uidnext),
        row.keyword_names,
        exists=True,
        complete=complete,
    )


def claim_recent(opened: OpenAccount, mailbox_id: int, below: int | None = None) -> Uid:
    """Carry out `Account.claim_recent`; a claim lost in a power cut or on a full disk only shows \\Recent again."""
    with opened.db.reading() as connection:
        row = queries.load_mailbox(connection, mailbox_id)
    first = row.first_recent_uid
    if first >= row.uidnext or (below is not None and first >= below):
        return Uid(first)
    with readable_at_least(), opened.writing(durable=False) as work:
        row = work.mailbox(mailbox_id)
        first = row.first_recent_uid
        row.first_recent_uid = max(first, row.uidnext if below is None else min(below, row.uidnext))
    return Uid(first)


def messages(opened: OpenAccount, mailbox_id: int, uids: Sequence[int]) -> list[Message]:
    """Carry out `Account.messages`."""
    with opened.db.reading() as connection:
        rows = queries.message_rows(connection, mailbox_id, uids)
    return [Message(Uid(uid), Modseq(modseq), flags, size, seconds) for uid, modseq, flags, size, seconds in rows]


def rendered(
    opened: OpenAccount, mailbox_id: int, uids: Sequence[int], columns: Sequence[str]
) -> Iterator[tuple[object, ...]]:
    """Carry out `Account.rendered`."""
    query = queries.rendered_query(mailbox_id, columns)
    for chunk in queries.chunks(uids):
        with opened.db.reading() as connection:
            rows = queries.selected(connection, query, mailbox_id, chunk)
        yield from rows


def open_message(opened: OpenAccount, mailbox_id: int, uid: int) -> BinaryIO:
    """Carry out `Account.open_message`: retried when its name changes meanwhile, then looked for in the directory."""
    for attempt in range(_TRIES + 1):
        with opened.db.reading() as connection:
            row = queries.load_mailbox(connection, mailbox_id)
            found = queries.states(connection, row, [uid])
        if not found:
            break
        _, _, size_bytes, name_flags, stem = found[0]
        path: str | None = f"{opened.cur(row)}/{filenames.file_name(stem, name_flags)}"
        if attempt == _TRIES:
            path = find_message(opened.cur(row), stem, name_flags)
        if path is None:
            break
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        if os.fstat(descriptor).st_size == size_bytes:
            return open(descriptor, "rb", buffering=0)
        os.close(descriptor)
        sync.take_changed(opened, mailbox_id, uid)
        raise StoreError("store.no_such_message", "no such message")
    file = sync.open_or_drop(opened, mailbox_id, uid) if found else None
    if file is not None:
        return file
    raise StoreError("store.no_such_message", "no such message")
