"""One account as sessions see it: every call opens (or finds) the index, does its work, and keeps nothing."""

from __future__ import annotations

import shutil
from collections.abc import Hashable, Iterator, Sequence
from typing import BinaryIO

from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountRef, MailboxId, Modseq, Uid
from mailbox_app.store.interface import Account, NewMessage
from mailbox_app.store.maildir import (
    append,
    blocks,
    copy,
    expunge,
    folders,
    mailboxes,
    maildrop,
    names,
    opening,
    queries,
    reading,
    restoring,
)
from mailbox_app.store.maildir.files import file_stamp, readable_at_least
from mailbox_app.store.maildir.flags import store_flags
from mailbox_app.store.maildir.follower import NameFollower
from mailbox_app.store.maildir.handles import Handles
from mailbox_app.store.maildir.opened import INDEX_FILE
from mailbox_app.store.maildir.room import Room
from mailbox_app.store.model import (
    Appended,
    BlockRows,
    Changes,
    Copied,
    FlagMode,
    MailboxInfo,
    Message,
    Outline,
    Replaced,
    Restored,
    RetainedPage,
    Sizes,
    SpecialUse,
    StoreResult,
)


class MaildirAccount(Account):
    """A light handle; see `store.interface.Account` for what each method promises."""

    def __init__(self, handles: Handles, follower: NameFollower, ref: AccountRef) -> None:
        self._handles = handles
        self._follower = follower
        self._ref = ref

    def mailboxes(self) -> Sequence[MailboxInfo]:
        """All of them, by name; INBOX first."""
        with self._handles.using(self._ref) as opened:
            with readable_at_least():
                folders.synchronise(opened)
            with opened.db.reading() as connection:
                return mailboxes.infos(connection)

    def mailbox(self, name: str) -> MailboxInfo:
        """By name."""
        with self._handles.using(self._ref) as opened:
            with readable_at_least():
                folders.synchronise(opened)
            return reading.mailbox(opened, name)

    def create(self, name: str, special_use: SpecialUse | None = None) -> MailboxInfo:
        """Make a mailbox and its missing parents."""
        name = names.canonical(name)
        with self._handles.using(self._ref) as opened:
            folders.synchronise(opened)
            with opened.writing() as work:
                row = mailboxes.create(work, name, special_use)
            with opened.db.reading() as connection:
                return mailboxes.info(row, queries.is_subscribed(connection, name))

    def set_special_use(self, mailbox_id: MailboxId, use: SpecialUse | None) -> None:
        """Say what a mailbox is for."""
        with self._handles.using(self._ref) as opened, opened.writing() as work:
            mailboxes.set_special_use(work, mailbox_id, use)

    def rename(self, old: str, new: str) -> None:
        """With its children."""
        old, new = names.canonical(old), names.canonical(new)
        with self._handles.using(self._ref) as opened:
            folders.synchronise(opened)
            with opened.writing() as work:
                mailboxes.rename(work, old, new, copy.move_all)

    def delete(self, name: str) -> None:
        """One mailbox; its children stay."""
        name = names.canonical(name)
        with self._handles.using(self._ref) as opened:
            folders.synchronise(opened)
            with opened.writing() as work:
                rubbish = mailboxes.delete(work, name)
            if rubbish is not None:
                shutil.rmtree(rubbish, ignore_errors=True)  # what stays is removed at a later listing

    def subscribe(self, name: str, subscribed: bool) -> None:
        """Or unsubscribe."""
        with self._handles.using(self._ref) as opened:
            mailboxes.subscribe(opened, name, subscribed)

    def subscriptions(self) -> Sequence[str]:
        """Subscribed names, existing or not."""
        with self._handles.using(self._ref) as opened, opened.db.reading() as connection:
            return queries.subscriptions(connection)

    def outline(self, mailbox_id: MailboxId) -> Outline:
        """Counts, block by block."""
        with self._handles.using(self._ref) as opened:
            return blocks.outline(opened, mailbox_id)

    def blocks(self, mailbox_id: MailboxId, numbers: Sequence[int], as_of: Modseq, below: Uid) -> Sequence[BlockRows]:
        """These blocks as a view of an earlier moment sees them."""
        with self._handles.using(self._ref) as opened:
            return blocks.blocks(opened, mailbox_id, numbers, as_of, below)

    def stamp(self, watch: str) -> Hashable:
        """The times of change of the index and of the mailbox's directories; an empty log comes and goes with its readers."""
        root = self._handles.root(self._ref)
        folder, index = f"{root}/Maildir/{watch}", f"{root}/{INDEX_FILE}"
        log = file_stamp(f"{index}-wal")
        return (file_stamp(index), log if log[1] else None, file_stamp(f"{folder}/new"), file_stamp(f"{folder}/cur"))

    def claim_recent(self, mailbox_id: MailboxId, below: Uid | None = None) -> Uid:
        """The first recent UID, from now on nobody else's."""
        with self._handles.using(self._ref) as opened:
            return reading.claim_recent(opened, mailbox_id, below)

    def changes(self, mailbox_id: MailboxId, since: Modseq) -> Changes:
        """What happened after `since`."""
        with self._handles.using(self._ref) as opened:
            return reading.changes(opened, mailbox_id, since)

    def sizes(self, mailbox_id: MailboxId) -> Sizes:
        """UID and size of every message."""
        with self._handles.using(self._ref) as opened:
            return maildrop.sizes(opened, mailbox_id)

    def messages(self, mailbox_id: MailboxId, uids: Sequence[Uid]) -> Sequence[Message]:
        """Rows without rendered columns."""
        with self._handles.using(self._ref) as opened:
            return reading.messages(opened, mailbox_id, uids)

    def rendered(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], columns: Sequence[str]
    ) -> Iterator[tuple[object, ...]]:
        """(uid, column...) ascending by UID."""
        with self._handles.using(self._ref) as opened:
            yield from reading.rendered(opened, mailbox_id, uids, columns)

    def open_message(self, mailbox_id: MailboxId, uid: Uid) -> BinaryIO:
        """The stored file."""
        with self._handles.using(self._ref) as opened:
            return reading.open_message(opened, mailbox_id, uid)

    def open_messages(self, mailbox_id: MailboxId, uids: Sequence[Uid]) -> Iterator[tuple[Uid, BinaryIO | None]]:
        """The stored files of many."""
        with self._handles.using(self._ref) as opened:
            yield from opening.open_messages(opened, mailbox_id, uids)

    def append(self, messages: Sequence[NewMessage], *, atomic: bool = False) -> Sequence[Appended | Exception]:
        """Deliver staged files."""
        with self._handles.using(self._ref) as opened:
            return append.append(opened, messages, Room.of(self._ref), atomic=atomic)

    def replace(self, mailbox_id: MailboxId, uid: Uid, message: NewMessage) -> Replaced:
        """Deliver one staged file in another message's stead."""
        with self._handles.using(self._ref) as opened:
            replaced = append.replace(opened, mailbox_id, uid, message, Room.of(self._ref))
        self._follower.follow(self._ref)
        return replaced

    def store_flags(
        self,
        mailbox_id: MailboxId,
        uids: Sequence[Uid],
        mode: FlagMode,
        flags: int,
        keywords: Sequence[str] = (),
        unchanged_since: Modseq | None = None,
    ) -> StoreResult:
        """Change flags; file names follow."""
        with self._handles.using(self._ref) as opened:
            result = store_flags(opened, mailbox_id, uids, mode, flags, keywords, unchanged_since)
        if result.changed:
            self._follower.follow(self._ref)
        return result

    def copy(self, mailbox_id: MailboxId, uids: Sequence[Uid], target: MailboxId, *, move: bool = False) -> Copied:
        """Copy or move."""
        with self._handles.using(self._ref) as opened:
            return copy.copy(opened, mailbox_id, uids, target, move=move, room=Room.of(self._ref))

    def expunge(self, mailbox_id: MailboxId, uids: Sequence[Uid] | None) -> Sequence[Uid]:
        """Remove what is marked \\Deleted; its files follow."""
        with self._handles.using(self._ref) as opened:
            gone = expunge.expunge(opened, mailbox_id, uids)
        if gone:
            self._follower.follow(self._ref)
        return gone

    def retained(
        self,
        mailbox: str = "",
        since_seconds: int = 0,
        text: str = "",
        before: tuple[int, int] | None = None,
        limit: int = 100,
    ) -> RetainedPage:
        """What was expunged and can come back."""
        with self._handles.using(self._ref) as opened:
            return restoring.listing(opened, mailbox, since_seconds, text, before, limit)

    def retained_usage(self) -> tuple[int, int]:
        """(bytes, messages)."""
        with self._handles.using(self._ref) as opened, opened.db.reading() as connection:
            account = queries.load_account(connection)
        return (account.retained_bytes, account.retained_messages) if account else (0, 0)

    def restore(self, ids: Sequence[int]) -> Sequence[Restored]:
        """Bring expunged messages back."""
        with self._handles.using(self._ref) as opened:
            return restoring.restore(opened, ids, Room.of(self._ref))

    def usage(self) -> tuple[int, int]:
        """(bytes, messages)."""
        with self._handles.using(self._ref) as opened, opened.db.reading() as connection:
            account = queries.load_account(connection)
        if account is None:
            raise StoreError("store.damaged", "an index is damaged", temporary=True)
        return account.used_bytes, account.used_messages
