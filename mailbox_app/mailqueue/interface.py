"""The queue's seams: the backend (SQLite or Redis) and the transports, with the rules both keep.

* `enqueue` returns after spool file and rows are fsynced: only then may anyone say 250.
* A due recipient is owned by exactly one lease at a time; an expired lease makes it due again.
* `settle` makes the attempt's record durable before the next attempt can start.
Backends are synchronous (`db.offload` takes them off the loop); transports are asynchronous.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.model import (
    Attempt,
    Envelope,
    Lease,
    NewRecipient,
    Outcome,
    QueuedMessage,
    QueuedRecipient,
    QueueFilter,
    QueueStats,
    RecipientState,
)
from mailbox_app.mailqueue.spool import SpoolFile


class QueueBackend(Protocol):
    """Where envelopes wait."""

    def enqueue(
        self,
        envelope: Envelope,
        recipients: Sequence[NewRecipient],
        spool: SpoolFile,
        now: datetime,
        *,
        due_at: datetime | None = None,
    ) -> QueueId:
        """Take over the spool file and make all rows, due at once or at `due_at`; durable on return."""
        ...

    def recover(self, now: datetime) -> int:
        """At a runner's start: put back leases whose holder is surely dead, remove orphan files; how many leases."""
        ...

    def claim(
        self,
        now: datetime,
        *,
        limit: int,
        lease_seconds: float,
        running: Mapping[str, int] | None = None,
        per_destination: int = 5,
        held: Sequence[str] = (),
    ) -> Sequence[Lease]:
        """Due recipients, grouped by message and destination, oldest first; reclaims expired leases.

        At most `per_destination` leases of one destination, those the caller already has `running` included. Leases whose
        tokens are `held` are still worked on, however late: their results wait for a disk that takes them.
        """
        ...

    def next_due_at(self) -> datetime | None:
        """When the next deferred recipient is due or a lease runs out; None when nothing waits."""
        ...

    def settle(self, lease: Lease, outcomes: Sequence[Outcome], next_at: datetime, now: datetime) -> None:
        """Record one outcome per leased recipient: finished ones leave, deferred ones wait for `next_at`.

        `queue.lease_lost` when the lease ran out and somebody else owns the recipients.
        """
        ...

    def release(self, lease: Lease) -> None:
        """Put leased recipients back as they were (shutdown)."""
        ...

    # operators
    def message(self, queue_id: QueueId) -> QueuedMessage:
        """With all waiting recipients; `queue.no_such_id`."""
        ...

    def attempts(self, queue_id: QueueId) -> Sequence[Attempt]:
        """The history, oldest first."""
        ...

    def header(self, queue_id: QueueId, limit_bytes: int = 65536) -> bytes:
        """The spool's header block."""
        ...

    def window(
        self, where: QueueFilter, sort: str, reverse: bool, offset: int, limit: int
    ) -> tuple[int, Sequence[QueuedRecipient], Sequence[QueuedMessage]]:
        """(total, rows, their messages without recipients); sort: next, age, size, sender, recipient, attempts."""
        ...

    def matching(self, where: QueueFilter, limit: int) -> Sequence[tuple[QueueId, str, RecipientState]]:
        """(id, address, state) of the recipients meant, in order of id and address; at most `limit`."""
        ...

    def stats(self, now: datetime) -> QueueStats:
        """Counts, the oldest and the ten destinations with most recipients."""
        ...

    def retry(self, where: QueueFilter, now: datetime) -> int:
        """Make matching deferred recipients due now."""
        ...

    def hold(self, where: QueueFilter) -> int:
        """Matching recipients wait for an operator."""
        ...

    def unhold(self, where: QueueFilter, now: datetime) -> int:
        """Held recipients become due now."""
        ...

    def take(self, where: QueueFilter, now: datetime, lease_seconds: float) -> Sequence[Lease]:
        """Lease matching recipients (not active ones) whatever their time, to bounce or drop them.

        At most 10,000 recipients at once: call again until nothing comes.
        """
        ...


class Transport(Protocol):
    """Delivers one lease. The queue knows nothing else of SMTP or of mailboxes."""

    async def deliver(self, lease: Lease) -> Sequence[Outcome]:
        """One outcome per leased recipient; raises nothing but cancellation; bounded in time by itself."""
        ...
