"""What a running script asks: the message, its envelope, the account's mailboxes, other scripts, what was seen before.

A `Context` belongs to one message and one account. Its members are asked on the thread that runs the script and may block.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from mailbox_app.proto.sieve.message import Message

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.script import Script


class Mailboxes(Protocol):
    """The account's mailboxes, by their names as users see them (UTF-8, "/" between levels)."""

    def exists(self, name: str) -> bool:
        """Whether mail can be put there now."""
        ...

    def by_special_use(self, attribute: str) -> str | None:
        """The name of the mailbox with that attribute (with its backslash, any case)."""
        ...

    def special_uses(self, name: str) -> Collection[str]:
        """The attributes of a mailbox."""
        ...

    def by_id(self, mailbox_id: str) -> str | None:
        """The name of the mailbox with that id. RFC 8474, RFC 9042."""
        ...

    def metadata(self, name: str | None, entry: str) -> str | None:
        """An annotation of a mailbox, or of the server (None); None when there is none. RFC 5490."""
        ...


class Library(Protocol):
    """Scripts that others include. RFC 6609."""

    def script(self, location: str, name: str) -> Script | None:
        """A compiled script of `location` ("personal" or "global"); None when there is none. `SieveError` is told to the user."""
        ...


class Memory(Protocol):
    """What `duplicate` remembers; `Outcome.remember` says what to add once the actions are done."""

    def seen(self, identity: str) -> bool:
        """Whether the identity was remembered and is not yet forgotten."""
        ...


class Nothing:
    """No mailboxes, no scripts, no memory: for a script that is tried out."""

    def exists(self, name: str) -> bool:
        """Only INBOX."""
        return name.upper() == "INBOX"

    def by_special_use(self, attribute: str) -> str | None:
        """None."""
        return None

    def special_uses(self, name: str) -> Collection[str]:
        """None."""
        return ()

    def by_id(self, mailbox_id: str) -> str | None:
        """None."""
        return None

    def metadata(self, name: str | None, entry: str) -> str | None:
        """None."""
        return None

    def script(self, location: str, name: str) -> Script | None:
        """None."""
        return None

    def seen(self, identity: str) -> bool:
        """Never."""
        return False


NOTHING = Nothing()


@dataclass(frozen=True, slots=True)
class Context:
    """Everything a script may ask about."""

    message: Message
    now: datetime
    """Aware; its zone is the local one of `date` and `currentdate`."""
    sender: str | None = None
    """Envelope MAIL FROM; "" is the null sender, None unknown (no envelope: imapsieve)."""
    recipient: str | None = None
    """Envelope RCPT TO of this copy."""
    authenticated: str = ""
    """The SMTP AUTH identity of the sender (envelope "auth")."""
    separator: str = "+"
    """Between user and detail of a local part (subaddress). RFC 5233."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """RFC 5183 items by lower-case name (domain, host, location, name, phase, remote-host, remote-ip, version), RFC 6785 imap.*."""
    spam_percent: float | None = None
    """0 to 100; None: not tested. RFC 5235."""
    virus_level: int | None = None
    """0 not tested, 1 clean, 2 cured, 3 probably, 4 surely, 5 not tested by error; None as 0. RFC 5235 2.3."""
    mailboxes: Mailboxes = NOTHING
    library: Library = NOTHING
    memory: Memory = NOTHING
    home: str = "INBOX"
    """The mailbox that `keep` means."""
    flags: tuple[str, ...] | None = None
    """What the message has in `home` already, when it is there (imapsieve); None: it is on its way in."""
