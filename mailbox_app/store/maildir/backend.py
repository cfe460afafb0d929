"""`MaildirStore`: all accounts of this machine as Maildir++ trees with one index each."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from mailbox_app.clock import Clock
from mailbox_app.errors import StoreError
from mailbox_app.events.hints import Bus
from mailbox_app.ids import AccountRef
from mailbox_app.store.interface import Content, MaildropLock, Staged, Store
from mailbox_app.store.maildir import check, flags, maildrop, retained
from mailbox_app.store.maildir.account import MaildirAccount
from mailbox_app.store.maildir.account_notes import MaildirNotes
from mailbox_app.store.maildir.filenames import host_part
from mailbox_app.store.maildir.files import DiskErrors, fsync_directory, unlink_quietly
from mailbox_app.store.maildir.follower import NameFollower
from mailbox_app.store.maildir.handles import Handles
from mailbox_app.store.maildir.locking import AccountLock
from mailbox_app.store.maildir.names import account_folder
from mailbox_app.store.maildir.opened import LOCK_FILE
from mailbox_app.store.maildir.shares import MaildirShares
from mailbox_app.store.maildir.staging import Stage
from mailbox_app.store.model import Retention
from mailbox_app.store.repairs import RepairNotes


class MaildirStore(Store):
    """See `store.interface.Store`. Make it after the fork; `close` it at the end."""

    def __init__(
        self, data_dir: Path, bus: Bus, *, hostname: str, clock: Clock, retention: Retention | None = None
    ) -> None:
        host = host_part(hostname)
        self.retention = retention or Retention()
        """For what is expunged from now on; set it anew when the configuration changes."""
        self._data_dir = os.fspath(data_dir)
        self._clock = clock
        self._follower = NameFollower(self._write_names)
        self._repairs = RepairNotes(self._data_dir, bus)
        self._handles = Handles(
            self._data_dir, bus, host, clock, self._follower.follow, lambda: self.retention, self._repairs.note
        )
        self._stage = Stage(host)
        self._shares = MaildirShares(self._data_dir)

    def account(self, ref: AccountRef) -> MaildirAccount:
        """A handle; the account's tree and index are made with its first use."""
        return MaildirAccount(self._handles, self._follower, ref)

    def notes(self, ref: AccountRef) -> MaildirNotes:
        """Annotations and access lists of an account's mailboxes."""
        return MaildirNotes(self._handles, self._shares, ref)

    def shares(self) -> MaildirShares:
        """Which accounts let others in."""
        return self._shares

    def stage(self, ref: AccountRef, content: Content, *, synced: bool = True) -> Staged:
        """Write, fsync and render."""
        maildir = os.path.join(self._handles.root(ref), "Maildir")
        with DiskErrors():
            try:
                return self._stage.write(maildir, content, synced=synced)
            except FileNotFoundError:
                self._handles.get(ref)
            return self._stage.write(maildir, content, synced=synced)

    def link(self, staged: Staged, ref: AccountRef) -> Staged:
        """The same inode for another recipient."""
        maildir = os.path.join(self._handles.root(ref), "Maildir")
        path = self._stage.path(maildir)
        with DiskErrors():
            try:
                os.link(staged.path, path)
            except FileNotFoundError:
                self._handles.get(ref)
                os.link(staged.path, path)
        return Staged(path, staged.size_bytes, staged.rendered, staged.synced)

    def discard(self, staged: Staged) -> None:
        """Remove a staged file; one that is gone is fine."""
        unlink_quietly(staged.path)

    def lock_maildrop(self, ref: AccountRef) -> MaildropLock | None:
        """One POP3 session at a time."""
        with self._handles.using(ref):
            return maildrop.lock(self._handles.root(ref))

    def remove_account(self, ref: AccountRef) -> str:
        """Move the account's folder to `trash/`."""
        root = self._handles.root(ref)
        trash = os.path.join(self._data_dir, "trash")
        seconds = int(self._clock.epoch_seconds())
        target = f"{trash}/{account_folder(f'{ref.localpart}@{ref.domain}')[:200]}.{ref.account_id}.{seconds}"
        with DiskErrors():
            if not os.path.isdir(root):
                raise StoreError("store.no_such_account", "the account has no mail here")
            os.makedirs(trash, 0o700, exist_ok=True)
            with AccountLock(os.path.join(root, LOCK_FILE)):
                self._handles.forget(ref)
                os.rename(root, target)
                fsync_directory(trash)
                fsync_directory(os.path.dirname(root))
        return target

    def rebuild(self, ref: AccountRef, progress: Callable[[int], None] | None = None) -> int:
        """A new index from the tree alone."""
        count = self._handles.rebuild(ref, progress)
        self.notes(ref).settle_shares()
        return count

    def check(self, ref: AccountRef) -> Sequence[str]:
        """Differences between index and tree, in sentences."""
        with self._handles.using(ref) as opened:
            return check.check(opened)

    def flush_names(self) -> None:
        """Let file names follow the flags now instead of within a second."""
        self._follower.flush()

    def purge(self, ref: AccountRef) -> bool:
        """Remove one batch of expunged messages whose time is over; whether more wait. Opens no account without any."""
        root = self._handles.root(ref)
        if not os.path.isdir(os.path.join(root, retained.FOLDER)):
            return False
        with self._handles.using(ref) as opened:
            return retained.purge(opened, ref.quota_bytes)

    def let_go(self, idle_seconds: float) -> int:
        """Close the indexes that nobody asked for in so many seconds, and tell how many; they open again by themselves."""
        return self._handles.let_go(idle_seconds)

    def close(self) -> None:
        """Finish background work and close all indexes."""
        self._follower.close()
        self._handles.close()
        self._shares.close()

    def _write_names(self, ref: AccountRef) -> bool:
        if not os.path.isdir(self._handles.root(ref)):  # removed meanwhile; opening it would make it anew
            return False
        with self._handles.using(ref) as opened:
            more = flags.write_names(opened)
            more = retained.move_files(opened) or more
            return retained.purge(opened, ref.quota_bytes) or more
