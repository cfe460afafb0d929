"""What is known about a client and its message so far; it grows from stage to stage.

One `Facts` per SMTP session; MAIL starts a new transaction in it. Checks read it and never change it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import BinaryIO

from mailbox_app.accounts.model import Account
from mailbox_app.mailauth.results import AuthResults, IprevResult, SpfResult
from mailbox_app.policy.verdict import Finding
from mailbox_app.proto.header import Header


class Stage(StrEnum):
    """When a check runs, and so what it can know."""

    CONNECT = "connect"
    """Before the greeting: the client's address."""
    SENDER = "sender"
    """At MAIL: also its greeting name and the envelope sender."""
    RECIPIENT = "recipient"
    """At each RCPT: also this recipient (the last of `recipients`) after aliases."""
    MESSAGE = "message"
    """At the end of content: everything."""


@dataclass(frozen=True, slots=True)
class RecipientFacts:
    """One recipient that RCPT accepted."""

    address: str
    """As the client wrote it."""
    canonical: str
    """After domain aliases and detail: what a greylist or a rate is keyed by."""
    accounts: Sequence[Account] = ()
    outside: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class MessageFacts:
    """A whole message."""

    block: bytes
    """The received header block with its empty line, without our own trace fields."""
    header: Header
    """The same, parsed."""
    body: bytes | BinaryIO
    """All behind the empty line; a file is read from position 0 and left open. A check that reads it does so off the loop
    when it is a file or larger than 64 KiB, and reads no more than it needs."""
    size_bytes: int
    message_id: str
    auth: AuthResults | None
    """SPF, DKIM, DMARC, ARC and iprev; None when they are switched off."""
    derived: dict[str, object] = field(default_factory=dict, compare=False, repr=False)
    """What checks worked out together, such as the parsed parts (`content.content_of`): each thing is made once."""


@dataclass(slots=True)
class Facts:
    """A session's facts."""

    session_id: str
    remote_ip: str
    service: str = "smtp"
    connected_at: datetime | None = None
    talked_early: bool = False
    """It said something before it was greeted."""
    helo: str = ""
    tls: str = ""
    sender: str = ""
    """The envelope sender; "" is the null sender."""
    spf: Callable[[], Awaitable[SpfResult]] | None = None
    """SPF of this sender: started at MAIL, awaited by who needs it. None when switched off."""
    iprev: Callable[[], Awaitable[IprevResult]] | None = None
    """What the client's address leads to and back; looked up once, at the first wish. None when switched off."""
    remote_name: Callable[[], Awaitable[str]] | None = None
    """The client's confirmed PTR name, "" without one (iprev); looked up once, at the first wish."""
    recipients: list[RecipientFacts] = field(default_factory=list)
    message: MessageFacts | None = None
    findings: list[Finding] = field(default_factory=list)
    """What the earlier stages of this session and transaction found; those of refused recipients are not among them."""
