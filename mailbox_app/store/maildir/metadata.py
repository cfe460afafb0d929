"""The few facts about an account and its mailboxes that no file name can carry, as small files in the Maildir tree.

`mailbox.json` in each mailbox's folder, beside it `annotations.json` and `acl.json` when it has any; `account.json`,
`subscriptions` and `account-annotations.json` at the Maildir root. They are written before
the index commits what needs them, so a rebuild never reuses an id, a UIDVALIDITY or a UID. A file that cannot be read is
treated as absent: the mailbox gets a new identity, which costs clients a download and never a message.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from mailbox_app.store.maildir.files import write_durably

T = TypeVar("T")

MAILBOX_FILE = "mailbox.json"
ACCOUNT_FILE = "account.json"
SUBSCRIPTIONS_FILE = "subscriptions"
ACL_FILE = "acl.json"
ANNOTATIONS_FILE = "annotations.json"
ACCOUNT_ANNOTATIONS_FILE = "account-annotations.json"
"""Of the account itself: INBOX has the same folder."""
UID_BLOCK = 1_000
"""UIDs reserved at a time: a rebuild skips at most so many, and the file is rewritten once for so many messages."""


class MailboxFile(msgspec.Struct, frozen=True):
    """`mailbox.json`. `uid_reserved`: every UID given out is below it."""

    mailbox_id: int
    uidvalidity: int
    uid_reserved: int
    special_use: str | None = None
    keywords: tuple[str, ...] = ()
    reserved_before: tuple[int, int] = (0, 0)
    """(uid_reserved, UIDNEXT) of the index when `uid_reserved` was raised: it may have died before it committed that."""


class AccountFile(msgspec.Struct, frozen=True):
    """`account.json`. Its presence also says that the account's first mailboxes were made."""

    next_mailbox_id: int
    last_uidvalidity: int


def read_facts(folder: str, name: str, kind: type[T]) -> T | None:
    """One of these files; None when absent or unreadable."""
    try:
        with open(os.path.join(folder, name), "rb") as file:
            return msgspec.json.decode(file.read(), type=kind)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def read_mailbox(folder: str) -> MailboxFile | None:
    """The folder's `mailbox.json`; None when absent or unreadable."""
    return read_facts(folder, MAILBOX_FILE, MailboxFile)


def write_mailbox(folder: str, facts: MailboxFile) -> None:
    """Durable on return."""
    write_durably(folder, MAILBOX_FILE, msgspec.json.encode(facts))


def read_account(maildir: str) -> AccountFile | None:
    """The root's `account.json`; None when absent or unreadable."""
    return read_facts(maildir, ACCOUNT_FILE, AccountFile)


def write_account(maildir: str, facts: AccountFile) -> None:
    """Durable on return."""
    write_durably(maildir, ACCOUNT_FILE, msgspec.json.encode(facts))


def read_subscriptions(maildir: str) -> list[str]:
    """Subscribed names, one a line."""
    try:
        with open(os.path.join(maildir, SUBSCRIPTIONS_FILE), encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\n") for line in file if line.strip("\n")]
    except FileNotFoundError:
        return []


def write_subscriptions(maildir: str, names: list[str]) -> None:
    """Durable on return."""
    write_durably(maildir, SUBSCRIPTIONS_FILE, "".join(name + "\n" for name in names).encode())


def read_acl(folder: str) -> dict[str, str]:
    """Who else may do what in this mailbox; a file that cannot be read lets nobody in."""
    return read_facts(folder, ACL_FILE, dict[str, str]) or {}


def write_acl(folder: str, entries: Mapping[str, str]) -> None:
    """Durable on return."""
    write_durably(folder, ACL_FILE, msgspec.json.encode(entries))


def read_annotations(folder: str, name: str = ANNOTATIONS_FILE) -> dict[str, bytes]:
    """Values are in Base64; none when the file is absent or unreadable."""
    return read_facts(folder, name, dict[str, bytes]) or {}


def write_annotations(folder: str, entries: Mapping[str, bytes], name: str = ANNOTATIONS_FILE) -> None:
    """Durable on return."""
    write_durably(folder, name, msgspec.json.encode(entries))
