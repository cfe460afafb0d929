"""The daemon's answers about accounts and their mail as typed rows, cleaned like all others (`tui.models`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tui.format import clean
from tui.models import int_of, rows_of, text_of, when_of

NEARLY_FULL = 0.9
MOST_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class Account:
    """One account."""

    address: str
    state: str
    used_bytes: int | None
    messages: int | None
    quota_bytes: int
    quota_messages: int
    created_at: datetime | None
    last_login_at: datetime | None
    sending: str = "free"
    """Or braked, or held: all it sends waits."""
    held_because: str = ""

    @property
    def held(self) -> bool:
        """All it sends is held."""
        return self.sending not in {"free", ""}

    @property
    def key(self) -> str:
        """What identifies the row; an address may be in the trash and in use again."""
        return f"{self.address} {self.created_at}"

    @property
    def removed(self) -> bool:
        """It is in the trash."""
        return self.state == "removed"

    @property
    def share(self) -> float:
        """The fuller of its two quotas; 0 without one."""
        shares = [
            (used or 0) / most
            for used, most in ((self.used_bytes, self.quota_bytes), (self.messages, self.quota_messages))
            if most > 0
        ]
        return max(shares, default=0.0)

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Account:
        """From `user.list` or `user.show`."""
        return cls(
            address=text_of(row, "address"),
            state=text_of(row, "state"),
            used_bytes=None if row.get("used_bytes") is None else int_of(row, "used_bytes"),
            messages=None if row.get("messages") is None else int_of(row, "messages"),
            quota_bytes=int_of(row, "quota_bytes"),
            quota_messages=int_of(row, "quota_messages"),
            created_at=when_of(row, "created_at"),
            last_login_at=when_of(row, "last_login_at"),
            sending=text_of(row, "sending") or "free",
            held_because=text_of(row, "held_because"),
        )


@dataclass(frozen=True, slots=True)
class AppPassword:
    """A program's password, without the password."""

    label: str
    protocols: Sequence[str]
    created_at: datetime | None

    @property
    def key(self) -> str:
        """Labels are unique within an account."""
        return self.label

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> AppPassword:
        """From `app_password.list`."""
        protocols = row.get("protocols")
        return cls(
            label=text_of(row, "label"),
            protocols=[clean(str(each)) for each in protocols] if isinstance(protocols, list) else [],
            created_at=when_of(row, "created_at"),
        )


@dataclass(frozen=True, slots=True)
class MailboxCount:
    """One mailbox of an account."""

    name: str
    messages: int
    unseen: int
    size_bytes: int
    special_use: str

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> MailboxCount:
        """From `user.mailboxes`."""
        return cls(
            name=text_of(row, "name"),
            messages=int_of(row, "messages"),
            unseen=int_of(row, "unseen"),
            size_bytes=int_of(row, "size_bytes"),
            special_use=text_of(row, "special_use"),
        )


@dataclass(frozen=True, slots=True)
class DeletedMail:
    """One expunged message that can come back until `ends_at`, or earlier when space runs short."""

    id: str
    mailbox: str
    flags: Sequence[str]
    size_bytes: int
    received_at: datetime | None
    deleted_at: datetime | None
    ends_at: datetime | None
    subject: str
    sender: str

    @property
    def key(self) -> str:
        """Its id."""
        return self.id

    @classmethod
    def read(cls, row: Mapping[str, Any], kept_days: int) -> DeletedMail:
        """From `retained.list`."""
        deleted_at, flags = when_of(row, "expunged_at"), row.get("flags")
        return cls(
            id=text_of(row, "id"),
            mailbox=text_of(row, "mailbox"),
            flags=[clean(str(each)) for each in flags] if isinstance(flags, list) else [],
            size_bytes=int_of(row, "size_bytes"),
            received_at=when_of(row, "received_at"),
            deleted_at=deleted_at,
            ends_at=None if deleted_at is None else deleted_at + timedelta(days=min(kept_days, MOST_DAYS)),
            subject=text_of(row, "subject"),
            sender=text_of(row, "from"),
        )


@dataclass(frozen=True, slots=True)
class Restoring:
    """What bringing messages back would do."""

    messages: int
    size_bytes: int
    left_out: int
    fits: bool
    targets: Sequence[tuple[str, int, bool]]
    """(mailbox, messages, whether it is there)."""

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Restoring:
        """From `retained.plan`."""
        return cls(
            messages=int_of(row, "messages"),
            size_bytes=int_of(row, "size_bytes"),
            left_out=int_of(row, "left_out"),
            fits=row.get("fits") is not False,
            targets=[
                (text_of(each, "mailbox"), int_of(each, "messages"), each.get("exists") is not False)
                for each in rows_of(row, "mailboxes")
            ],
        )
