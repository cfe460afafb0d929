"""Opening many message files: their names come in one query for 500, each file is opened when its turn comes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from mailbox_app.errors import StoreError
from mailbox_app.ids import Uid
from mailbox_app.store.maildir import filenames, queries, reading
from mailbox_app.store.maildir.opened import OpenAccount


def open_messages(opened: OpenAccount, mailbox_id: int, uids: Sequence[int]) -> Iterator[tuple[Uid, BinaryIO | None]]:
    """Carry out `Account.open_messages`."""
    for chunk in queries.chunks(uids):
        with opened.db.reading() as connection:
            row = queries.load_mailbox(connection, mailbox_id)
            found = queries.states(connection, row, chunk)
        cur = opened.cur(row)
        for key, _, _, name_flags, stem in found:
            uid = Uid(key - row.base)
            try:
                descriptor = os.open(f"{cur}/{filenames.file_name(stem, name_flags)}", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                yield from _renamed_or_gone(opened, mailbox_id, uid)
            else:
                yield uid, open(descriptor, "rb", buffering=0)  # noqa: SIM115 - the caller closes it


def _renamed_or_gone(opened: OpenAccount, mailbox_id: int, uid: Uid) -> Iterator[tuple[Uid, BinaryIO | None]]:
    """The file under its present name, None when it is nowhere, nothing when the message is no longer in the index."""
    try:
        yield uid, reading.open_message(opened, mailbox_id, uid)
    except StoreError as error:
        if error.temporary:
            raise
        with opened.db.reading() as connection:
            row = queries.load_mailbox(connection, mailbox_id)
            is_there = bool(queries.states(connection, row, [uid]))
        if is_there:
            yield uid, None
