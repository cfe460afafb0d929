"""A message on its way in: envelope, accepted recipients, trace fields, content; and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO

from mailbox_app.accounts.model import Account, Alias
from mailbox_app.ids import QueueId
from mailbox_app.mailauth.results import AuthResults
from mailbox_app.mailqueue.model import Envelope
from mailbox_app.policy.verdict import Judgement
from mailbox_app.proto.smtp.replies import Reply

Body = bytes | BinaryIO
"""Content in memory, or an open file that is read from its start."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """One address that RCPT accepted, and where its mail goes."""

    address: str
    accounts: Sequence[Account] = ()
    outside: Sequence[str] = ()
    notify: str = ""
    """RFC 3461 NOTIFY."""
    orcpt: str = ""
    """RFC 3461 ORCPT."""
    canonical: str = ""
    """The address after domain aliases and without its detail."""
    detail: str = ""
    """What stood behind the name, in the sender's case: Sieve's subaddress."""
    lists: Sequence[Alias] = ()
    """Lists that the message is posted to."""
    is_forward: bool = False
    """`outside` is where an alias of ours leads: the copy gets a sender of ours. False: a user of ours wrote it there."""

    @property
    def separator(self) -> str:
        """The character before the detail; "" without one."""
        return self.address.rpartition("@")[0][: -len(self.detail)][-1:] if self.detail else ""


@dataclass(frozen=True, slots=True)
class Mail:
    """What delivery takes. The stored bytes are `prefix` and `body`, below a Return-Path in a mailbox."""

    envelope: Envelope
    recipients: Sequence[Recipient]
    prefix: bytes
    body: Body
    size_bytes: int
    """Of prefix and body together."""
    judgement: Judgement = field(default_factory=Judgement)
    """What the policy found; decides between INBOX and Junk where no script does."""
    author: str = ""
    """The From address when SPF or DKIM prove its domain; lists go by it. "" when nothing proves it."""
    auth: AuthResults | None = None
    """What the sender checks found: a copy that leaves again carries it, sealed. None where nothing was checked."""
    remote_ip: str = ""
    """The client it came from, for scripts that ask; "" when unknown."""
    remote_name: str = ""
    """That client's confirmed name, else what it called itself."""
    trace_id: str = ""
    """Its id in Received, in the log and in reports."""
    arrived_at: datetime | None = None
    """When it waited in the queue before: since when it is here."""
    due_at: datetime | None = None
    """When its sender wants it to go; None: at once. RFC 4865"""
    hold_reason: str = ""
    """Why what leaves waits for an operator first; "" when it does not."""

    @property
    def wants_receipts(self) -> bool:
        """Whether a recipient's success is to be told."""
        return any("SUCCESS" in recipient.notify for recipient in self.recipients)


@dataclass(frozen=True, slots=True)
class Filing:
    """What happened to one recipient's copy."""

    address: str
    action: str
    """stored, discarded, redirected, rejected, queued, replied or notified."""
    target: str = ""
    """The mailbox's name, the address it went to, or the reply."""
    reason: str = ""
    """Why there: "junk: score 7.2 of 5", "script main: line 4"."""
    steps: Sequence[str] = ()
    """The filter scripts' steps, one line each."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of a message: recipients in mailboxes and in the queue."""

    stored: Sequence[str]
    """Addresses of the accounts that have it."""
    queued: Sequence[tuple[QueueId, Sequence[str]]]
    """Queue ids with their addresses."""
    message_id: str = ""
    """The Message-ID, when delivery added one."""
    filings: Sequence[Filing] = ()
    """Per account and outside address, in words for the decision record."""
    hold_reason: str = ""
    """Why what leaves waits for an operator first."""
    replies: Mapping[str, Reply] = field(default_factory=dict)
    """By recipient address as RCPT had it: who was not served, when each recipient has an answer of its own."""
