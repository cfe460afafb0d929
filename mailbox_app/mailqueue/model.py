"""The queue's values. One envelope has one spool file and one row per recipient; each recipient has its own fate (D4).

States: `deferred` (waits for `next_at`), `active` (leased to a runner), `held` (waits for an operator), `quarantined` (its
message cannot be read: an operator looks at it). A recipient that is finished (delivered, failed, expired, dropped) leaves the
queue for the history; the spool file goes with the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum, StrEnum

from mailbox_app.ids import QueueId


class RecipientState(StrEnum):
    """Where one recipient of a queued message stands."""

    DEFERRED = "deferred"
    ACTIVE = "active"
    HELD = "held"
    QUARANTINED = "quarantined"


class Priority(IntEnum):
    """What goes first among what is due: a smaller number."""

    REPORT = 0
    """Our own reports: small, and somebody waits for them."""
    PERSON = 1
    BULK = 2
    """One of very many equal ones: whoever sent it does not wait for this one."""


class Fate(StrEnum):
    """How one delivery attempt for one recipient ended."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    FAILED = "failed"
    LOOP = "loop"
    POSTPONED = "postponed"
    """Not tried (circuit open, pace, node without Redis): waits until `retry_at`, and it does not count as a try."""
    QUARANTINED = "quarantined"
    """The message cannot be read, for good: it is put aside."""


WAITING = frozenset({Fate.DEFERRED, Fate.POSTPONED, Fate.QUARANTINED})
"""Fates after which a recipient stays in the queue."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What SMTP says outside the message. Addresses are without angle brackets; "" is the null sender."""

    sender: str
    body: str = "7BIT"
    """7BIT, 8BITMIME or BINARYMIME."""
    smtputf8: bool = False
    ret: str = ""
    """RFC 3461 RET: FULL, HDRS or empty."""
    envid: str = ""
    """RFC 3461 ENVID, xtext as received."""
    submitter: str = ""
    """The account address that submitted it; empty for relayed mail and bounces."""
    message_id: str = ""
    """The Message-ID header, for searching."""
    require_tls: bool = False
    """RFC 8689 REQUIRETLS: it leaves to servers that prove who they are and promise the same, or not at all."""
    tls_optional: bool = False
    """RFC 8689 5 `TLS-Required: No`: it rather arrives in clear than not; DANE and MTA-STS do not hold it up."""
    priority: Priority = Priority.PERSON
    release_request: str = ""
    """What the sender said about a later time, as reports repeat it: "for;3600" or "until;2026-03-01T08:00:00Z". RFC 4865 5.1.2"""


@dataclass(frozen=True, slots=True)
class NewRecipient:
    """One address to queue. `transport` is "smtp" or "local"."""

    address: str
    transport: str = "smtp"
    notify: str = ""
    """RFC 3461 NOTIFY list in upper case, or empty for the default (failure)."""
    orcpt: str = ""
    """RFC 3461 ORCPT, `type;xtext` as received."""
    reason: str = ""
    """Why it is queued instead of delivered, when there is a reason; shown as the first answer."""
    hold_reason: str = ""
    """Not empty: it waits for an operator from the start, for this reason."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One recipient's result of one attempt; `Fate` decides what the queue does next."""

    address: str
    fate: Fate
    code: int
    """SMTP code of the answer, or ours (4xx when we could not even ask)."""
    enhanced: str
    """Enhanced status, "4.4.1"."""
    text: str
    """The answer's text, cleaned of control characters, at most 512 characters."""
    host: str = ""
    """The remote host that answered, "" when none did."""
    tls: str = ""
    """TLS version and cipher, "" in clear."""
    duration_seconds: float = 0.0
    retry_at: datetime | None = None
    """With `POSTPONED` when to look again; with `DEFERRED` not before this, when the transport knows better than the schedule."""
    relayed: bool = False
    """Delivered to a host that knows nothing of delivery reports (RFC 3461 5.2.2): whoever wants one hears it from us."""
    said: str = ""
    """The host's own last words with their code, where `text` is ours."""


@dataclass(frozen=True, slots=True)
class QueuedRecipient:
    """One row of the queue."""

    queue_id: QueueId
    address: str
    transport: str
    destination: str
    """The domain, lower case: what is grouped into one transaction."""
    state: RecipientState
    attempts: int
    next_at: datetime
    last_code: int
    last_text: str
    last_host: str
    notify: str
    orcpt: str
    last_enhanced: str = ""
    route: str = ""
    """The route an operator chose for it instead of the configured one; "" for none."""
    hold_reason: str = ""
    """Why it is held (a rule, a cap, an operator) or quarantined; of a deferred one why its last turn was passed over
    (`Fate.POSTPONED`), "" after a real try. The last answer stays in the fields before."""
    delay_told: bool = False
    """Whether its sender has been told that it is late (RFC 3461 4.1 DELAY)."""


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """An envelope with its waiting recipients."""

    queue_id: QueueId
    envelope: Envelope
    size_bytes: int
    arrived_at: datetime
    expires_at: datetime
    recipients: Sequence[QueuedRecipient]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One line of a message's history."""

    at: datetime
    address: str
    fate: Fate
    code: int
    text: str
    host: str
    tls: str
    duration_seconds: float


@dataclass(frozen=True, slots=True)
class Lease:
    """Recipients of one message and one destination that this runner owns until `until`. Settle or release it. D7."""

    token: str
    message: QueuedMessage
    """With only the leased recipients."""
    spool_path: str
    until: datetime
    content: bytes | None = field(default=None, repr=False, compare=False)
    """The whole message where it has been read already; None: read the file."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What came of one lease."""

    lease: Lease
    outcomes: Sequence[Outcome]
    """Leased recipients without an outcome go back as they were."""
    next_at: datetime
    """For the deferred ones whose outcome names no `retry_at`."""
    delay_told: Sequence[str] = ()
    """Addresses whose sender has now been told of the delay."""


@dataclass(frozen=True, slots=True)
class Finished:
    """One recipient that has left the queue, as the history keeps it for 30 days."""

    queue_id: QueueId
    address: str
    sender: str
    submitter: str
    message_id: str
    size_bytes: int
    arrived_at: datetime
    finished_at: datetime
    fate: Fate
    code: int
    enhanced: str
    text: str
    host: str
    tls: str
    attempts: int


BRAKE = "brake"
"""How the reason of a hold rule begins that the server made against a burst."""


@dataclass(frozen=True, slots=True)
class HoldRule:
    """New mail that all given conditions meet is held from the start. Addresses match whole or by `@domain`."""

    number: int
    """Given by the backend; 0 before."""
    sender: str = ""
    recipient: str = ""
    submitter: str = ""
    reason: str = ""
    made_at: datetime | None = None

    @property
    def is_brake(self) -> bool:
        """The server made it itself, because the account suddenly sent much."""
        return self.reason.startswith(BRAKE)


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is delivered to this domain, or nothing at all, until somebody resumes it. What is under way is finished."""

    destination: str
    """The domain in lower case; "" for the whole queue."""
    reason: str
    made_at: datetime


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which rows an operator means; all given conditions hold. Addresses match whole or by `@domain`."""

    ids: Sequence[QueueId] = ()
    sender: str = ""
    recipient: str = ""
    submitter: str = ""
    domain: str = ""
    older_than_seconds: float | None = None
    state: RecipientState | None = None
    text: str = ""
    """Substring of sender, recipient or last answer."""
    late_seconds: float | None = None
    """Could have gone for so long (the time a sender chose does not count), and its sender has not been told."""


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Counts for the header line and the metrics."""

    recipients: int
    messages: int
    deferred: int
    active: int
    held: int
    late: int
    oldest_at: datetime | None
    by_destination: Sequence[tuple[str, int]] = field(default_factory=tuple)
    quarantined: int = 0


def read_time(seconds: float) -> datetime:
    """A stored time; one that is none (a damaged file) is the beginning of 1970, so that the row can still be shown."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
