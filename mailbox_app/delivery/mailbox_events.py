"""What IMAP did to messages, for scripts that want to know. RFC 6785."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from mailbox_app.ids import AccountRef, MailboxId, Uid

Cause = Literal["APPEND", "COPY", "FLAG"]
SCRIPT_ENTRY = "/shared/imapsieve/script"
"""The annotation of a mailbox, or of an account for all its mailboxes, that names the script."""


@dataclass(frozen=True, slots=True)
class MailboxEvent:
    """Messages that came into a mailbox, or whose flags changed there."""

    ref: AccountRef
    """Whose mailbox it is."""
    mailbox_id: MailboxId
    uids: Sequence[Uid]
    cause: Cause
    user: str
    """The address of the account that is logged in."""
    changed_flags: int = 0
    """FLAG: which bits of the flags integer are different now, the same for all of these messages."""


class MailboxEvents(Protocol):
    """Told after each command that changed something; what comes of it happens later and causes no event."""

    def concern(self, ref: AccountRef) -> bool:
        """Whether the account may have a script for events. A look at one name: may be asked on the loop."""
        ...

    def names_script(self, ref: AccountRef, mailbox_id: MailboxId) -> bool:
        """Whether one is named for this mailbox, as far as is known. Blocking; never raises."""
        ...

    async def happened(self, event: MailboxEvent) -> None:
        """Take it up; returns at once unless very much of this account waits already. Never raises."""
        ...


class NoMailboxEvents:
    """Nobody wants to know."""

    def concern(self, ref: AccountRef) -> bool:
        """False."""
        return False

    def names_script(self, ref: AccountRef, mailbox_id: MailboxId) -> bool:
        """False."""
        return False

    async def happened(self, event: MailboxEvent) -> None:
        """Nothing."""


NO_MAILBOX_EVENTS = NoMailboxEvents()
