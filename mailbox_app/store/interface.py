"""The store's seams, with the rules every backend keeps. Everything here is synchronous: call it through `db.offload`.

* A call that returns has made its change durable (fsynced); one that raises has changed nothing a client can see.
* UIDs of a mailbox only grow; modseqs of an account only grow and are unique per change.
* Quota is checked and counted in the same transaction as the change, both ways.
* After each commit that changes what clients see, the account's topic is published on the bus.
* Errors are `StoreError`; full disk, busy database and I/O errors are temporary.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from mailbox_app.ids import AccountRef, MailboxId, Modseq, Uid
from mailbox_app.proto.message import Rendered
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
from mailbox_app.store.notes import Notes, Shares


@dataclass(frozen=True, slots=True)
class Content:
    """A message's bytes on their way in: `prefix` (trace headers) then `body` (bytes, or an open file read from 0)."""

    prefix: bytes
    body: bytes | BinaryIO
    size_bytes: int
    """Of prefix and body together."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A message file written in `tmp/`, not yet visible. `discard` it or pass it to `append`."""

    path: str
    size_bytes: int
    rendered: Rendered
    synced: bool = True
    """False: `append` makes the bytes durable, after it has moved the file into its place."""


@dataclass(frozen=True, slots=True)
class NewMessage:
    """One message for one mailbox of one account."""

    staged: Staged
    mailbox: MailboxId | str
    """An id, or a name (made when absent only for INBOX and special-use mailboxes)."""
    flags: int = 0
    """System flags only; keywords by name below."""
    keywords: tuple[str, ...] = ()
    internal_seconds: int | None = None
    """None: now."""


class Account(Protocol):
    """One account's mailboxes. Handles are cheap to get and safe from any thread; sessions keep none while idle."""

    # mailboxes
    def mailboxes(self) -> Sequence[MailboxInfo]:
        """All of them, by name; INBOX first."""
        ...

    def mailbox(self, name: str) -> MailboxInfo:
        """By name (INBOX in any case); `store.no_such_mailbox`."""
        ...

    def create(self, name: str, special_use: SpecialUse | None = None) -> MailboxInfo:
        """RFC 9051 6.3.4; missing parents are made too; `store.mailbox_exists`, `store.bad_name`."""
        ...

    def set_special_use(self, mailbox_id: MailboxId, use: SpecialUse | None) -> None:
        """RFC 6154 4; `store.use_taken` when another mailbox has it."""
        ...

    def rename(self, old: str, new: str) -> None:
        """With its children; renaming INBOX moves its messages. RFC 9051 6.3.6. Ids and UIDs stay."""
        ...

    def delete(self, name: str) -> None:
        """One mailbox; `store.has_children` never: children stay; INBOX: `store.bad_name`."""
        ...

    def subscribe(self, name: str, subscribed: bool) -> None:
        """Subscriptions survive deletion of the mailbox. RFC 9051 6.3.7."""
        ...

    def subscriptions(self) -> Sequence[str]:
        """Subscribed names, existing or not."""
        ...

    # reading
    def outline(self, mailbox_id: MailboxId) -> Outline:
        """Synchronises with files other programs put there, then counts, block by block."""
        ...

    def blocks(self, mailbox_id: MailboxId, numbers: Sequence[int], as_of: Modseq, below: Uid) -> Sequence[BlockRows]:
        """These blocks (ascending) as a view sees them whose highest modseq is `as_of` and whose UIDNEXT is `below`."""
        ...

    def stamp(self, watch: str) -> Hashable:
        """Differs from an earlier one when the mailbox of `Outline.watch` may have news. Opens nothing: a few file stats."""
        ...

    def claim_recent(self, mailbox_id: MailboxId, below: Uid | None = None) -> Uid:
        """The first recent UID, and from now on nobody's else: for SELECT, not EXAMINE. `below`: only of UIDs that the
        session has in view; later ones are left to whoever sees them first."""
        ...

    def changes(self, mailbox_id: MailboxId, since: Modseq) -> Changes:
        """What happened after `since`; also picks up files that other programs put there."""
        ...

    def sizes(self, mailbox_id: MailboxId) -> Sizes:
        """UID and size of every message, and nothing wider; also picks up files that other programs put there."""
        ...

    def messages(self, mailbox_id: MailboxId, uids: Sequence[Uid]) -> Sequence[Message]:
        """Rows without rendered columns; missing UIDs are left out."""
        ...

    def rendered(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], columns: Sequence[str]
    ) -> Iterator[tuple[object, ...]]:
        """(uid, column...) ascending by UID, in one query per 500; columns are fields of `Message` and `Rendered`."""
        ...

    def open_message(self, mailbox_id: MailboxId, uid: Uid) -> BinaryIO:
        """The stored file, unbuffered, for pread; `store.no_such_message` when expunged."""
        ...

    def open_messages(self, mailbox_id: MailboxId, uids: Sequence[Uid]) -> Iterator[tuple[Uid, BinaryIO | None]]:
        """As `open_message`, one after the other and ascending; each is the caller's to close.

        Expunged ones are left out. None: it went, or turned out to be gone, after the index was asked.
        """
        ...

    # writing
    def append(self, messages: Sequence[NewMessage], *, atomic: bool = False) -> Sequence[Appended | Exception]:
        """All in one transaction and one directory fsync; one over quota fails alone. Consumes the staged files.

        `atomic`: the first one that fails is raised, and none is stored (RFC 3502 2).
        """
        ...

    def replace(self, mailbox_id: MailboxId, uid: Uid, message: NewMessage) -> Replaced:
        """The new message comes and the old one goes in one transaction; the quota counts what is left after it.

        RFC 8508 3.1. `store.no_such_message` when the old one is gone already. Consumes the staged file.
        """
        ...

    def store_flags(
        self,
        mailbox_id: MailboxId,
        uids: Sequence[Uid],
        mode: FlagMode,
        flags: int,
        keywords: Sequence[str] = (),
        unchanged_since: Modseq | None = None,
    ) -> StoreResult:
        """Missing UIDs are passed over; a message whose flags do not change keeps its modseq and is not in `changed`."""
        ...

    def copy(self, mailbox_id: MailboxId, uids: Sequence[Uid], target: MailboxId, *, move: bool = False) -> Copied:
        """Hard links, one transaction; all or nothing; `store.over_quota`."""
        ...

    def expunge(self, mailbox_id: MailboxId, uids: Sequence[Uid] | None) -> Sequence[Uid]:
        """Removes those with \\Deleted (of `uids`, or of all when None); the UIDs removed."""
        ...

    def retained(
        self,
        mailbox: str = "",
        since_seconds: int = 0,
        text: str = "",
        before: tuple[int, int] | None = None,
        limit: int = 100,
    ) -> RetainedPage:
        """Expunged messages that can be restored, latest first: of one mailbox, since a time, with a text in subject or
        sender. `before` is an earlier page's `next`; a page may be short when few match."""
        ...

    def retained_usage(self) -> tuple[int, int]:
        """(bytes, messages) retained, which no quota counts."""
        ...

    def restore(self, ids: Sequence[int]) -> Sequence[Restored]:
        """Bring retained messages back into their mailboxes, unmarked, with new UIDs; all or nothing.

        Into a new mailbox of the old name when it is gone, or INBOX. An id that is not retained any more is left out.
        `store.over_quota`.
        """
        ...

    def usage(self) -> tuple[int, int]:
        """(bytes, messages) of the account, as the quota counts them."""
        ...


class MaildropLock(Protocol):
    """Held by one POP3 session of an account, over all processes; freed when its holder dies."""

    def release(self) -> None:
        """Let the next session in; any thread, any number of times, never blocks."""
        ...


class Store(Protocol):
    """All accounts on this machine."""

    def account(self, ref: AccountRef) -> Account:
        """Opens (and makes when absent, with INBOX and the special-use mailboxes) an account's store."""
        ...

    def notes(self, ref: AccountRef) -> Notes:
        """Annotations and access lists of an account's mailboxes."""
        ...

    def shares(self) -> Shares:
        """Which accounts let others in."""
        ...

    def stage(self, ref: AccountRef, content: Content, *, synced: bool = True) -> Staged:
        """Write and fsync into the account's `tmp/`, rendering it meanwhile. One stage serves many recipients.

        Not `synced`: the fsync is left to an `append` that comes soon; one of both orders is cheaper then.
        """
        ...

    def link(self, staged: Staged, ref: AccountRef) -> Staged:
        """The same inode in another account's `tmp/`."""
        ...

    def discard(self, staged: Staged) -> None:
        """Remove a staged file that will not be appended."""
        ...

    def lock_maildrop(self, ref: AccountRef) -> MaildropLock | None:
        """The lock of RFC 1939 4, or None when another session has it; keeps neither IMAP nor deliveries waiting."""
        ...

    def remove_account(self, ref: AccountRef) -> str:
        """Take an account's mail out of service: its folder moves to `trash/`; the new place. D22."""
        ...

    def rebuild(self, ref: AccountRef, progress: Callable[[int], None] | None = None) -> int:
        """Throw the index away and make it anew from the tree alone; the number of messages."""
        ...

    def check(self, ref: AccountRef) -> Sequence[str]:
        """Compare index and tree, file by file; one sentence for each difference."""
        ...
