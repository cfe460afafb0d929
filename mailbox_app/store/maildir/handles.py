"""The open indexes of this process: the least recently used are let go, damaged ones are made anew.

A handle that was let go stays usable for those who hold it and closes when the last of them is done, so nothing is
closed under anybody's hands.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.threads import Threads
from mailbox_app.errors import StoreError
from mailbox_app.events.hints import Bus, account_topic
from mailbox_app.ids import AccountRef
from mailbox_app.store.maildir import names, queries, rebuild, retained_queries
from mailbox_app.store.maildir.files import DiskErrors, fsync_directory
from mailbox_app.store.maildir.locking import AccountLock
from mailbox_app.store.maildir.metadata import ACCOUNT_FILE
from mailbox_app.store.maildir.opened import INDEX_FILE, LOCK_FILE, OpenAccount
from mailbox_app.store.model import Retention

_KEPT = 64
_STAGED_SECONDS = 36 * 3600
"""Maildir's rule: a file in tmp that old belongs to nobody."""
_SYNC_THREADS = 8
_REPAIR_SECONDS = 600.0
"""An index that is damaged again so soon is the disk's trouble, not the index's."""


class Handles:
    """Opens accounts and keeps them; safe from any thread."""

    def __init__(
        self,
        data_dir: str,
        bus: Bus,
        host: str,
        clock: Clock,
        on_pending: Callable[[AccountRef], None],
        retention: Callable[[], Retention],
        note_repair: Callable[[AccountRef, str], None],
    ) -> None:
        self._mail = os.path.join(data_dir, "mail")
        self._bus = bus
        self._host = host
        self._clock = clock
        self._on_pending = on_pending
        self._retention = retention
        self._note_repair = note_repair
        self._syncs = Threads(_SYNC_THREADS, "sync")
        self._lock = threading.Lock()
        self._open: OrderedDict[int, OpenAccount] = OrderedDict()
        self._opening: dict[int, threading.Lock] = {}
        self._repaired: dict[int, float] = {}
        self._log = structlog.get_logger("store")

    def root(self, ref: AccountRef) -> str:
        """The account's folder."""
        return os.path.join(self._mail, names.account_folder(ref.domain), names.account_folder(ref.localpart))

    @contextmanager
    def using(self, ref: AccountRef) -> Iterator[OpenAccount]:
        """The open account; a damaged index met on the way is rebuilt, and the caller's error stays temporary."""
        opened = self.get(ref)
        try:
            with DiskErrors():
                yield opened
        except StoreError as error:
            if error.code == "store.damaged":
                self.forget(ref)
                self._repair(ref, error)
            raise

    def get(self, ref: AccountRef) -> OpenAccount:
        """From the kept ones, or opened now."""
        with self._lock:
            opened = self._open.get(ref.account_id)
            if opened is not None:
                opened.used_at = time.monotonic()
                self._open.move_to_end(ref.account_id)
        if opened is not None and opened.is_current():
            return opened
        with self._lock:
            opening = self._opening.setdefault(ref.account_id, threading.Lock())
        with opening:
            with self._lock:
                opened = self._open.get(ref.account_id)
            if opened is None or not opened.is_current():
                opened = self._first_opening(ref)
                with self._lock:
                    self._open[ref.account_id] = opened
                    self._open.move_to_end(ref.account_id)
                    while len(self._open) > _KEPT:
                        self._open.popitem(last=False)
        with self._lock:
            self._opening.pop(ref.account_id, None)
        return opened

    def forget(self, ref: AccountRef) -> None:
        """Let one go."""
        with self._lock:
            self._open.pop(ref.account_id, None)

    def let_go(self, idle_seconds: float) -> int:
        """Those that nobody asked for in so many seconds: some 360 KiB each, opened again in half a millisecond."""
        limit, count = time.monotonic() - idle_seconds, 0
        with self._lock:  # the least recently used come first
            while self._open and next(iter(self._open.values())).used_at < limit:
                self._open.popitem(last=False)
                count += 1
        return count

    def close(self) -> None:
        """Close all; handles still in use fail."""
        with self._lock:
            for opened in self._open.values():
                opened.close()
            self._open.clear()
        self._syncs.close()

    def rebuild(self, ref: AccountRef, progress: Callable[[int], None] | None = None) -> int:
        """A new index from the tree, in place of whatever is there."""
        root = self.root(ref)
        with DiskErrors():
            self._make_root(root)
            lock = AccountLock(os.path.join(root, LOCK_FILE))
            with lock:
                count = self._rebuild(ref, root, progress)
        self.forget(ref)
        self._bus.publish(account_topic(ref.account_id))
        return count

    def _first_opening(self, ref: AccountRef) -> OpenAccount:
        root = self.root(ref)
        with DiskErrors():
            self._make_root(root)
            lock = AccountLock(os.path.join(root, LOCK_FILE))
            with lock:
                fresh = not os.path.exists(os.path.join(root, "Maildir", ACCOUNT_FILE))
                if fresh:
                    rebuild.make_tree(os.path.join(root, "Maildir"), int(self._clock.epoch_seconds()))
                if not os.path.exists(os.path.join(root, INDEX_FILE)):
                    count = self._rebuild(ref, root, None)
                    if not fresh:
                        self._note_repair(ref, f"the index was missing and was made anew from {count} message files")
                opened = self._open_or_repair(ref, root, lock)
            self._clean_up(ref, opened)
        return opened

    def _open_or_repair(self, ref: AccountRef, root: str, lock: AccountLock) -> OpenAccount:
        try:
            opened = self._make(ref, root, lock)
            with opened.db.reading() as connection:
                filled = queries.load_account(connection) is not None
            if filled:
                return opened
            opened.close()
        except StoreError as error:
            if error.code != "store.damaged":
                raise
            self._log.error("index damaged, rebuilding it", account=f"{ref.localpart}@{ref.domain}", exc_info=error)
        count = self._rebuild(ref, root, None)
        self._note_repair(ref, f"the index could not be used and was made anew from {count} message files")
        return self._make(ref, root, lock)

    def _repair(self, ref: AccountRef, error: StoreError) -> None:
        now = time.monotonic()
        last = self._repaired.get(ref.account_id)
        self._log.error(
            "index damaged", account=f"{ref.localpart}@{ref.domain}", again=last is not None, exc_info=error
        )
        if last is not None and now - last < _REPAIR_SECONDS:
            return
        self._repaired[ref.account_id] = now
        count = self.rebuild(ref)
        self._note_repair(ref, f"the index was damaged and was made anew from {count} message files")

    def _rebuild(self, ref: AccountRef, root: str, progress: Callable[[int], None] | None) -> int:
        private = AccountLock(os.path.join(root, "rebuild.lock"))  # the account's own is held by the caller
        return rebuild.rebuild(lambda path: self._make(ref, root, private, index=path), root, progress)

    def _make(self, ref: AccountRef, root: str, lock: AccountLock, *, index: str = "") -> OpenAccount:
        topic = account_topic(ref.account_id)
        publish = (lambda: None) if index else (lambda: self._bus.publish(topic))

        def note(text: str) -> None:
            self._note_repair(ref, text)

        return OpenAccount(
            root, lock, self._clock, self._host, publish, self._retention, note, self._syncs, index=index
        )

    def _clean_up(self, ref: AccountRef, opened: OpenAccount) -> None:
        """What a killed process left: files of removed rows, names without their flags, old staged files."""
        with opened.db.reading() as connection:
            left = bool(queries.doomed(connection))
            pending = bool(queries.pending_names(connection, 1) or retained_queries.waiting(connection, 1))
        if left:
            opened.bury_leftovers()
        if pending:
            self._on_pending(ref)
        with opened.db.reading() as connection:
            rows = queries.all_mailboxes(connection)
        oldest = time.time() - _STAGED_SECONDS
        for row in rows:
            with suppress(FileNotFoundError), os.scandir(os.path.join(opened.folder(row), "tmp")) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        if entry.stat(follow_symlinks=False).st_ctime < oldest:
                            os.unlink(entry.path)

    def _make_root(self, root: str) -> None:
        if not os.path.isdir(root):
            os.makedirs(root, 0o700, exist_ok=True)
            fsync_directory(os.path.dirname(root))
            fsync_directory(self._mail)
