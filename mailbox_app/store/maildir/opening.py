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
        for key, _, size_bytes, name_flags, stem in found:
            uid = Uid(key - row.base)
            yield (
                uid,
                _open(f"{cur}/{filenames.file_name(stem, name_flags)}", size_bytes) or _again(opened, mailbox_id, uid),
            )


def _open(path: str, size_bytes: int) -> BinaryIO | None:
    """The file, when it is there and as long as the index says."""
    try:
        file = open(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb", buffering=0)  # noqa: SIM115 - the caller closes it
    except FileNotFoundError:
        return None
    if os.fstat(file.fileno()).st_size == size_bytes:
        return file
    file.close()
    return None


def _again(opened: OpenAccount, mailbox_id: int, uid: int) -> BinaryIO | None:
    """The file under its present name, or whatever else makes index and files agree; None when there is none."""
    try:
        return reading.open_message(opened, mailbox_id, uid)
    except StoreError as error:
        if error.temporary:
            raise
        return None
