"""What POP3 needs of an account: the sizes of a mailbox's messages, and a lock that only another maildrop session meets.

The lock is held by an open file description: it is free again when its holder closes it or dies. Deliveries and other
sessions never ask for it.
"""

from __future__ import annotations

import fcntl
import os
from array import array

from mailbox_app.store.maildir import queries, sync
from mailbox_app.store.maildir.files import readable_at_least
from mailbox_app.store.maildir.opened import OpenAccount
from mailbox_app.store.model import Sizes

LOCK_FILE = "maildrop.lock"
_ROWS_AT_ONCE = 4_096


class FileLock:
    """A held lock; `release` may be called from any thread, more than once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Let the next session in."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def lock(root: str) -> FileLock | None:
    """Take the lock of the account in this folder; None when somebody has it."""
    descriptor = os.open(os.path.join(root, LOCK_FILE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return FileLock(descriptor)


def sizes(opened: OpenAccount, mailbox_id: int) -> Sizes:
    """Carry out `Account.sizes`; never more than some thousand rows beside the two arrays."""
    with readable_at_least():
        sync.synchronise(opened, mailbox_id)
    uids, size_bytes = array("I"), array("Q")
    with opened.db.reading() as connection:
        connection.execute("BEGIN")
        row = queries.load_mailbox(connection, mailbox_id)
        rows = connection.execute(
            "SELECT message_key - ?, size_bytes FROM message WHERE message_key > ? AND message_key < ? ORDER BY message_key",
            (row.base, row.base, row.base + (1 << queries.UID_BITS)),
        )
        while part := rows.fetchmany(_ROWS_AT_ONCE):
            uids.extend([uid for uid, _ in part])
            size_bytes.extend([size for _, size in part])
    return Sizes(row.uidvalidity, uids, size_bytes)
