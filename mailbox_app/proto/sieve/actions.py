"""What a script decided: one value per action, in the order in which they are to be done. Nothing here does anything.

Mailbox names and texts are `str`; bytes that are no UTF-8 are kept as surrogate escapes (PEP 383), so encode what goes
on with errors="surrogateescape".
"""

from __future__ import annotations

from dataclasses import dataclass

from mailbox_app.proto.sieve.header_edits import HeaderEdits
from mailbox_app.proto.sieve.rewritten import Rewritten


@dataclass(frozen=True, slots=True)
class Keep:
    """Into the account's INBOX, or where mail for it goes by default (implicit: no script asked for it by name)."""

    flags: tuple[str, ...] = ()
    implicit: bool = False
    edits: HeaderEdits | None = None
    """The header as it is to be stored; None: as received."""
    content: Rewritten | None = None
    """The message that was made of the received one (RFC 5703), which the edits belong to; None: as received."""


@dataclass(frozen=True, slots=True)
class FileInto:
    """Into a mailbox. `copy` leaves the implicit keep in place."""

    mailbox: str
    flags: tuple[str, ...] = ()
    copy: bool = False
    create: bool = False
    """RFC 5490 3.2: make the mailbox when it does not exist. Without it, a missing mailbox is the caller's policy (keep)."""
    special_use: str = ""
    """RFC 8579 4: a mailbox with this attribute (such as `\\Junk`) is preferred; `mailbox` is where to go (or made) without one."""
    mailbox_id: str = ""
    """RFC 9042 2: the mailbox with this id is preferred over the name."""
    edits: HeaderEdits | None = None
    content: Rewritten | None = None


@dataclass(frozen=True, slots=True)
class Redirect:
    """On to another address."""

    address: str
    copy: bool = False
    edits: HeaderEdits | None = None
    content: Rewritten | None = None


@dataclass(frozen=True, slots=True)
class Discard:
    """Drop silently: only takes the implicit keep away; other actions are still done."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse. RFC 5429: `ereject` (extended) at the door where possible; the caller decides how."""

    reason: str
    extended: bool = False


@dataclass(frozen=True, slots=True)
class Fcc:
    """Where a copy of a generated message is filed. RFC 8580."""

    mailbox: str
    flags: tuple[str, ...] = ()
    create: bool = False
    special_use: str = ""
    mailbox_id: str = ""


@dataclass(frozen=True, slots=True)
class Vacation:
    """An answer to the sender. Whether one may be sent (RFC 5230 4.5, 4.6: loops, lists, own addresses, once per period) is the
    caller's to check."""

    reason: str
    """The text; with `mime` a MIME entity with its header."""
    seconds: int
    """Not twice to one sender within this time; 0: to every message (RFC 6131 2)."""
    subject: str | None = None
    sender: str | None = None
    addresses: tuple[str, ...] = ()
    mime: bool = False
    handle: str = ""
    """Answers with one handle count as the same answer; never empty: made from the arguments when the script gives none."""
    fcc: Fcc | None = None


@dataclass(frozen=True, slots=True)
class Notify:
    """A notification. RFC 5435; methods: mailto (RFC 5436)."""

    method: str
    """The whole URI."""
    message: str | None = None
    importance: int = 2
    """1 high, 2 normal, 3 low."""
    sender: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    fcc: Fcc | None = None


Action = Keep | FileInto | Redirect | Discard | Reject | Vacation | Notify


@dataclass(frozen=True, slots=True)
class Remember:
    """An identity that `duplicate` saw: to be remembered when the run's actions were done. RFC 7352 3.1."""

    identity: str
    seconds: int
