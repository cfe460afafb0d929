"""The store's values: flags, messages, mailboxes, changes. Plain data, no I/O.

A message's flags are one integer: bits 0 to 4 are the system flags below, bit 8 + n is keyword n of its mailbox
(`MailboxInfo.keywords[n]`, at most 26, the letters a to z of its file name). \\Recent is not stored: a session
derives it from `first_recent_uid`.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag, StrEnum
from typing import NamedTuple

from mailbox_app.ids import MailboxId, Modseq, Uid


class SystemFlag(IntFlag):
    """The bits of a message's flags integer that every mailbox has."""

    SEEN = 1
    ANSWERED = 2
    FLAGGED = 4
    DELETED = 8
    DRAFT = 16


KEYWORD_SHIFT = 8
MAX_KEYWORDS = 26


class SpecialUse(StrEnum):
    """RFC 6154 roles, without the backslash."""

    ARCHIVE = "Archive"
    DRAFTS = "Drafts"
    JUNK = "Junk"
    SENT = "Sent"
    TRASH = "Trash"


@dataclass(frozen=True, slots=True)
class MailboxInfo:
    """One mailbox as LIST and STATUS want it. `name` is Unicode with `/` between levels; INBOX is upper case."""

    mailbox_id: MailboxId
    name: str
    uidvalidity: int
    uidnext: Uid
    highest_modseq: Modseq
    message_count: int
    unseen_count: int
    deleted_count: int
    size_bytes: int
    first_recent_uid: Uid
    """UIDs from here on have been shown to no read-write session yet."""
    subscribed: bool
    special_use: SpecialUse | None
    keywords: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """One row of the index without its rendered columns."""

    uid: Uid
    modseq: Modseq
    flags: int
    size_bytes: int
    internal_seconds: int
    """INTERNALDATE as seconds since 1970 (UTC)."""


class BlockCount(NamedTuple):
    """How many messages one block of consecutive UIDs has; `uid >> Outline.block_bits` is the number of a UID's block."""

    number: int
    message_count: int
    unseen_count: int


@dataclass(frozen=True, slots=True)
class Outline:
    """A mailbox as selecting it needs it: what it costs to read does not depend on the number of its messages."""

    info: MailboxInfo
    block_bits: int
    blocks: Sequence[BlockCount]
    """Ascending, without empty ones."""
    first_unseen: int | None
    """How many messages come before the first unseen one."""
    recent_count: int
    """Messages from `info.first_recent_uid` on."""
    watch: str
    """What `Account.stamp` wants to know."""


@dataclass(frozen=True, slots=True)
class BlockRows:
    """One block as a view of an earlier moment sees it: parallel arrays, ascending by UID."""

    number: int
    uids: array[int]
    """typecode I."""
    flags: array[int]
    """typecode Q, see the module's head; the state of now."""
    modseqs: array[int]
    """typecode Q; none is higher than the view's own, so that news that follow still are news."""
    expunged: Sequence[int]
    """UIDs removed since; as far as the log of removals goes back."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """UID and size of every message of a mailbox: parallel arrays, ascending by UID."""

    uidvalidity: int
    uids: array[int]
    """typecode I."""
    size_bytes: array[int]
    """typecode Q."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened to one mailbox after a modseq, from the modseq log; `changed` holds new messages too."""

    changed: Sequence[tuple[Uid, int, Modseq]]
    """(uid, flags, modseq), ascending by UID; the last state only."""
    expunged: Sequence[Uid]
    """Ascending; also of messages the asker never saw."""
    highest_modseq: Modseq
    uidnext: Uid
    keywords: tuple[str, ...]
    exists: bool
    """False: the mailbox was deleted."""
    complete: bool = True
    """False: the log does not go back that far, so these are all messages, and `expunged` all UIDs that are not there."""


class FlagMode(StrEnum):
    """How STORE combines."""

    REPLACE = ""
    ADD = "+"
    REMOVE = "-"


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a message went; RFC 4315 APPENDUID."""

    mailbox_id: MailboxId
    uidvalidity: int
    uid: Uid
    modseq: Modseq


@dataclass(frozen=True, slots=True)
class Retention:
    """How long and how much of what was expunged stays hidden and can be restored."""

    days: int = 14
    """0: expunged messages are removed at once."""
    max_bytes: int = 1 << 30
    """For each account; the oldest go first."""
    max_percent: int = 50
    """Of the account's quota, when it has one."""

    def bound_bytes(self, quota_bytes: int) -> int:
        """How much an account with this quota may retain."""
        return min(self.max_bytes, quota_bytes * self.max_percent // 100) if quota_bytes else self.max_bytes


@dataclass(frozen=True, slots=True)
class Retained:
    """An expunged message that can be restored."""

    retained_id: int
    """Stable over rebuilds; no other message of the account ever has it."""
    mailbox: str
    """The name of its mailbox, or the last name of one that is gone."""
    uid: Uid
    flags: int
    size_bytes: int
    internal_seconds: int
    expunged_seconds: int
    subject: str
    sender: str


@dataclass(frozen=True, slots=True)
class RetainedPage:
    """A part of what is retained, latest expunge first."""

    messages: Sequence[Retained]
    next: tuple[int, int] | None
    """Where to go on, as (expunged_seconds, retained_id); None at the end."""


@dataclass(frozen=True, slots=True)
class Restored:
    """Where a restored message went."""

    retained_id: int
    mailbox_id: MailboxId
    mailbox: str
    uid: Uid


@dataclass(frozen=True, slots=True)
class Replaced:
    """Outcome of REPLACE: where the new message went, and the modseq of the old one's removal. RFC 8508 3.3."""

    appended: Appended
    expunged_modseq: Modseq


@dataclass(frozen=True, slots=True)
class StoreResult:
    """Outcome of a flag change: what is now, and what UNCHANGEDSINCE refused. RFC 7162 3.1.3."""

    changed: Sequence[tuple[Uid, int, Modseq]]
    modified: Sequence[Uid]


@dataclass(frozen=True, slots=True)
class Copied:
    """Outcome of COPY or MOVE: parallel source and destination UIDs. RFC 4315 COPYUID."""

    uidvalidity: int
    source_uids: Sequence[Uid]
    target_uids: Sequence[Uid]
    expunged_modseq: Modseq | None = None
