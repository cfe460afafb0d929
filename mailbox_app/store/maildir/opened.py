"""An account's open index and the shape of every write: lock, transaction, files, commit.

`OpenAccount.writing` yields a `Work`. Inside it, files are made or renamed first and noted, so that a failed commit can
put everything back; rows are saved, new files and touched directories fsynced just before the commit; files whose rows
are gone are unlinked after it. The directory's time of change after our own work is kept in the mailbox's row, so that only
changes by other programs make somebody read the directory.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

from mailbox_app.clock import Clock
from mailbox_app.db.sqlite import Database
from mailbox_app.db.threads import Started, Threads
from mailbox_app.errors import StoreError
from mailbox_app.store.maildir import queries
from mailbox_app.store.maildir.block_cache import BlockCache
from mailbox_app.store.maildir.filenames import file_name
from mailbox_app.store.maildir.files import DiskErrors, fsync_directory, fsync_file, mtime_of, unlink_quietly
from mailbox_app.store.maildir.locking import AccountLock
from mailbox_app.store.maildir.metadata import UID_BLOCK, AccountFile, MailboxFile, write_account, write_mailbox
from mailbox_app.store.maildir.queries import AccountRow, MailboxRow
from mailbox_app.store.maildir.schema import MIGRATIONS
from mailbox_app.store.model import Retention

INDEX_FILE = "index.db"
LOCK_FILE = "index.lock"
_WAL_PAGES = 4_000
_READERS_KEPT = 2
_CACHE_KIB = 512
"""For each connection of up to 64 open accounts; the kernel caches the file anyway."""


class OpenAccount:
    """One account's folder and index in this process; safe from any thread."""

    def __init__(
        self,
        root: str,
        lock: AccountLock,
        clock: Clock,
        host: str,
        publish: Callable[[], None],
        retention: Callable[[], Retention],
        note_repair: Callable[[str], None],
        syncs: Threads,
        *,
        index: str = "",
    ) -> None:
        self.root = root
        self.maildir = os.path.join(root, "Maildir")
        self.host = host
        self.index_path = index or os.path.join(root, INDEX_FILE)
        self.lock = lock
        self.clock = clock
        self.publish = publish
        self.retention = retention
        self.syncs = syncs
        """Waits for the disk beside the thread that writes the rows."""
        self.note_repair = note_repair
        """Tells the audit in one sentence what was found wrong and put right."""
        """What happens to expunged messages; changes with the configuration."""
        self.blocks = BlockCache()
        self.scanned_at: dict[int, float] = {}
        """Monotonic seconds of the last directory scan of each mailbox."""
        self.db = Database(
            self.index_path, MIGRATIONS, wal_pages=_WAL_PAGES, readers_kept=_READERS_KEPT, cache_kib=_CACHE_KIB
        )
        self._inode = os.stat(self.index_path).st_ino
        self.used_at = time.monotonic()

    def is_current(self) -> bool:
        """False when the index was rebuilt or the account was removed since it was opened."""
        try:
            return os.stat(self.index_path).st_ino == self._inode
        except FileNotFoundError:
            return False

    def folder(self, row: MailboxRow) -> str:
        """The path of a mailbox's folder."""
        return os.path.join(self.maildir, row.folder) if row.folder else self.maildir

    def cur(self, row: MailboxRow) -> str:
        """The path of its `cur`."""
        return f"{self.maildir}/{row.folder}/cur" if row.folder else f"{self.maildir}/cur"

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[Work]:
        """The only way to change an account. Nothing is changed when the block or the commit raises."""
        with DiskErrors(), self.lock:
            if not self.is_current():
                raise StoreError("store.busy", "the mailbox was moved", temporary=True)
            work: Work | None = None
            try:
                with self.db.transaction(durable=durable) as connection:
                    work = Work(self, connection)
                    yield work
                    work.finish()
            except BaseException:
                if work is not None:
                    work.revert()
                raise
            for path in work.replaced:
                unlink_quietly(path)
            for path in work.rubbish:  # before anybody else can want the folder again
                shutil.rmtree(path, ignore_errors=True)
            if work.doomed:
                self.bury(work)
        if work.visible:
            self.publish()

    def bury(self, work: Work) -> None:
        """Unlink the files of removed rows; the caller holds the lock. What fails is tried again at the next opening."""
        clean = {row.mailbox_id: mtime_of(self.cur(row)) == row.cur_mtime for row, _ in work.doomed}
        gone: list[tuple[int, str]] = []
        for row, files in work.doomed:
            cur = self.cur(row)
            for stem, name_flags in files:
                with suppress(OSError):
                    remove_message(cur, stem, name_flags)
                    gone.append((row.mailbox_id, stem))
        with suppress(StoreError), self.db.transaction(durable=False) as connection:
            queries.pardon(connection, gone)
            for row, _ in work.doomed:
                if clean[row.mailbox_id]:
                    queries.save_cur_mtime(connection, row.mailbox_id, mtime_of(self.cur(row)))

    def bury_leftovers(self) -> None:
        """Unlink what a killed process removed from the index only."""
        with self.writing(durable=False) as work:
            for mailbox_id, stem, name_flags in queries.doomed(work.connection):
                work.doomed.append((work.mailbox(mailbox_id), [(stem, name_flags)]))

    def close(self) -> None:
        """Close the index; handles that still hold it fail."""
        self.db.close()


class Work:
    """One write transaction: the rows it loaded, the files it made, what must happen around its commit."""

    def __init__(self, opened: OpenAccount, connection: sqlite3.Connection) -> None:
        self.opened = opened
        self.connection = connection
        account = queries.load_account(connection)
        if account is None:
            raise StoreError("store.damaged", "an index is damaged", temporary=True)
        self.account: AccountRow = account
        self.visible = False
        """Whether clients see a difference: publish a hint after the commit."""
        self.created: list[str] = []
        """Files to unlink when it fails."""
        self._unsynced: list[str] = []
        self.undo: list[Callable[[], object]] = []
        """What else to do when it fails, last one first."""
        self.replaced: list[str] = []
        """Files that have a rewritten successor: unlink when it was committed."""
        self.rubbish: list[str] = []
        """Folders to remove when it was committed, still under the lock."""
        self.doomed: list[tuple[MailboxRow, list[tuple[str, int]]]] = []
        """(mailbox, files) to unlink when it was committed."""
        self._mailboxes: dict[int, MailboxRow] = {}
        self._clean: dict[int, bool] = {}
        self._directories: set[str] = set()
        self._root_clean: bool | None = None
        self._reserved_before: dict[int, tuple[int, int]] = {}
        self._account_file_stale = False

    def mailbox(self, mailbox_id: int) -> MailboxRow:
        """A row that is saved at the end; raises `store.no_such_mailbox`."""
        row = self._mailboxes.get(mailbox_id)
        if row is None:
            row = self._mailboxes[mailbox_id] = queries.load_mailbox(self.connection, mailbox_id)
        return row

    def named(self, name: str) -> MailboxRow | None:
        """By canonical name; the row is saved at the end."""
        row = queries.find_mailbox(self.connection, name)
        return self.adopt_row(row) if row else None

    def adopt_row(self, row: MailboxRow) -> MailboxRow:
        """Save this row at the end, or the one already loaded for its id."""
        return self._mailboxes.setdefault(row.mailbox_id, row)

    def forget_row(self, row: MailboxRow) -> None:
        """Do not save it: its mailbox was deleted."""
        self._mailboxes.pop(row.mailbox_id, None)
        self._clean.pop(row.mailbox_id, None)

    def next_modseq(self, row: MailboxRow) -> int:
        """A fresh modseq, now the mailbox's highest."""
        self.account.modseq += 1
        row.highest_modseq = self.account.modseq
        self.visible = True
        return self.account.modseq

    def touching(self, row: MailboxRow, *, new_names: bool = True) -> bool:
        """Say that files in `cur` are about to change; whether nobody else changed it since the row was saved."""
        clean = self._clean.get(row.mailbox_id)
        if clean is None:
            clean = self._clean[row.mailbox_id] = mtime_of(self.opened.cur(row)) == row.cur_mtime
        if new_names:
            self._directories.add(self.opened.cur(row))
        return clean

    def touching_folders(self) -> None:
        """Say that folders at the Maildir root are about to change."""
        if self._root_clean is None:
            self._root_clean = mtime_of(self.opened.maildir) == self.account.root_mtime
        self._directories.add(self.opened.maildir)

    def scanned(self, row: MailboxRow, *, clean: bool) -> None:
        """Say that the directory was read in this transaction and the rows agree with it."""
        self._clean[row.mailbox_id] = clean

    def reserve_uids(self, row: MailboxRow, count: int) -> None:
        """Make sure that a rebuild will not give out the next `count` UIDs again."""
        if row.uidnext + count > row.uid_reserved:
            self._reserved_before.setdefault(row.mailbox_id, (row.uid_reserved, row.uidnext))
            row.uid_reserved = row.uidnext + count + UID_BLOCK
            self.write_facts(row)

    def write_facts(self, row: MailboxRow) -> None:
        """Bring the mailbox's small file up to date."""
        before = self._reserved_before.get(row.mailbox_id, (0, 0))
        facts = MailboxFile(
            row.mailbox_id, row.uidvalidity, row.uid_reserved, row.special_use, row.keyword_names, before
        )
        write_mailbox(self.opened.folder(row), facts)

    def new_identity(self) -> tuple[int, int]:
        """(mailbox id, UIDVALIDITY), both never used before in this account."""
        account = self.account
        mailbox_id = account.next_mailbox_id
        account.next_mailbox_id += 1
        account.last_uidvalidity = max(account.last_uidvalidity + 1, int(self.opened.clock.epoch_seconds()))
        self._account_file_stale = True
        return mailbox_id, account.last_uidvalidity

    def sync_file(self, path: str) -> None:
        """Make a file's bytes durable before the commit."""
        self._unsynced.append(path)

    def sync_directory(self, path: str) -> None:
        """Say that names in a directory are about to change, which must be durable before the commit."""
        self._directories.add(path)

    def finish(self) -> None:
        """Save the rows and make new names durable; the commit comes next."""
        if self._account_file_stale:
            account = self.account
            write_account(self.opened.maildir, AccountFile(account.next_mailbox_id, account.last_uidvalidity))
        for mailbox_id, clean in self._clean.items():
            row = self._mailboxes.get(mailbox_id)
            if row is not None:
                row.cur_mtime = mtime_of(self.opened.cur(row)) if clean else 0
        if self._root_clean is not None:
            self.account.root_mtime = mtime_of(self.opened.maildir) if self._root_clean else 0
        for row in self._mailboxes.values():
            queries.save_mailbox(self.connection, row)
        queries.save_account(self.connection, self.account)
        self._sync()

    def _sync(self) -> None:
        """First the files, under their final names: on a journaling file system that takes their names along.

        Several at once, in threads: they share what the file system does for each.
        """
        others = [Started(self.opened.syncs, partial(_fsync_message, path)) for path in self._unsynced[1:]]
        for path in self._unsynced[:1]:
            _fsync_message(path)
        for other in others:
            other.wait()
        for directory in self._directories:
            fsync_directory(directory)

    def revert(self) -> None:
        """Put the files back; the rows are rolled back already."""
        for path in self.created:
            unlink_quietly(path)
        for step in reversed(self.undo):
            with suppress(OSError):
                step()


def _fsync_message(path: str) -> None:
    """Make a new message durable, also when another program has marked it already; one it took away needs nothing."""
    try:
        fsync_file(path)
    except FileNotFoundError:
        cur, name = os.path.split(path)
        found = find_message(cur, name.partition(":")[0], 0)
        if found is not None:
            fsync_file(found)


def find_message(cur: str, stem: str, name_flags: int) -> str | None:
    """The path of a message's file, also when another program changed its flags; None when it is not there."""
    path = f"{cur}/{file_name(stem, name_flags)}"
    if os.path.exists(path):
        return path
    with suppress(FileNotFoundError), os.scandir(cur) as entries:
        for entry in entries:
            if entry.name == stem or entry.name.startswith(stem + ":"):
                return entry.path
    return None


def remove_message(cur: str, stem: str, name_flags: int) -> None:
    """Unlink a message's file, whatever flags its name has now; fine when it is gone."""
    try:
        os.unlink(f"{cur}/{file_name(stem, name_flags)}")
    except FileNotFoundError:
        path = find_message(cur, stem, name_flags)
        if path is not None:
            os.unlink(path)
