"""Where search.db is, how it is opened and how it goes away."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from mailbox_app.db.sqlite import Database, translated
from mailbox_app.ids import AccountRef
from mailbox_app.store.maildir.files import unlink_quietly
from mailbox_app.store.maildir.names import account_folder
from mailbox_app.store.search.schema import MIGRATIONS

SEARCH_FILE = "search.db"
REBUILT_FILE = "search.db.rebuilt"
_BUSY_SECONDS = 2.0
_CACHE_KIB = 4_000
_READ_CACHE_KIB = 8_000
"""While one question is answered."""


def account_root(data_dir: str, ref: AccountRef) -> str:
    """The folder of an account."""
    return os.path.join(data_dir, "mail", account_folder(ref.domain), account_folder(ref.localpart))


@contextmanager
def reading(path: str) -> Iterator[sqlite3.Connection | None]:
    """A consistent view of an index for one question; None when there is no index of this version (yet).

    Nothing stays open. A missing file is not made, which is the builder's business.
    """
    if not os.path.exists(path):
        yield None
        return
    with translated():
        uri = f"file:{quote(path)}?mode=rw"
        connection = sqlite3.connect(
            uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        with closing(connection):
            connection.execute(f"PRAGMA cache_size=-{_READ_CACHE_KIB}")
            connection.execute("BEGIN")
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            yield connection if version == len(MIGRATIONS) else None


class BuiltFile:
    """An index that is written: the one in use, or its successor beside it."""

    def __init__(self, path: str) -> None:
        self.path = path
        if not os.path.exists(path):
            remove(path)  # the log of a lost file must not be applied to a new one
        self.db = Database(path, MIGRATIONS, synchronous="NORMAL", readers_kept=1, cache_kib=_CACHE_KIB)
        self._inode = os.stat(path).st_ino

    def is_current(self) -> bool:
        """False when somebody removed or replaced the file."""
        try:
            return os.stat(self.path).st_ino == self._inode
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Copy the log into the file and let go."""
        self.db.close()


def remove(path: str) -> None:
    """An index, its log, everything."""
    for suffix in ("", "-wal", "-shm"):
        unlink_quietly(path + suffix)


def size_bytes(root: str) -> int:
    """Disk space of an account's index with its log and its successor."""
    total = 0
    for name in (SEARCH_FILE, REBUILT_FILE):
        for suffix in ("", "-wal"):
            path = Path(root, name + suffix)
            total += path.stat().st_size if path.exists() else 0
    return total
