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

from mailbox_app.errors import QueueError
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.model import (
    Attempt,
    Envelope,
    Finished,
    HoldRule,
    Lease,
    NewRecipient,
    Outcome,
    Pause,
    QueuedMessage,
    QueuedRecipient,
    QueueFilter,
    QueueStats,
    RecipientState,
    Settlement,
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
        """Due recipients, grouped by message and destination, the urgent first; reclaims expired leases.

        A share of the leases goes to what is due for the longest time, so that urgent mail never stops all other. What cannot be
        read is put aside (quarantined) and stops nothing.

        At most `per_destination` leases of one destination, those the caller already has `running` included. Leases whose
        tokens are `held` are still worked on, however late: their results wait for a disk that takes them.
        """
        ...

    def next_due_at(self) -> datetime | None:
        """When the next deferred recipient is due or a lease runs out; None when nothing waits."""
        ...

    def settle(self, settlements: Sequence[Settlement], now: datetime) -> Sequence[Lease]:
        """Record one outcome per leased recipient, for all settlements in one durable step.

        Finished recipients leave for the history, deferred ones wait for their time with one try more, postponed ones without,
        quarantined ones are put aside. The leases that nobody owned any more: nothing was recorded for those.
        """
        ...

    def postpone(
        self,
        destination: str,
        until: datetime,
        reason: str,
        *,
        route: str = "",
        gap_seconds: float,
        most_seconds: float,
    ) -> int:
        """Deferred recipients by SMTP of this destination and route that would go before `until` go from then on; how many.

        In their order, `gap_seconds` after each other but none more than `most_seconds` after `until`; never later than a
        minute before their message's time is over, and never earlier than now planned. It counts no try; `reason` as with
        `POSTPONED`. At most 10,000 at once.
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

    def content(self, queue_id: QueueId, offset: int, limit_bytes: int) -> bytes:
        """A piece of the message as it is stored; `queue.no_such_id`, temporary `queue.unreadable`."""
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

    def hold(self, where: QueueFilter, reason: str = "") -> int:
        """Matching recipients wait for an operator."""
        ...

    def reroute(self, where: QueueFilter, route: str, now: datetime) -> int:
        """Matching recipients go by this route from their next try on, which is due now; "" for the configured one."""
        ...

    def unhold(self, where: QueueFilter, now: datetime) -> int:
        """Held and quarantined recipients become due now, held ones that were never tried not before their time."""
        ...

    def take(self, where: QueueFilter, now: datetime, lease_seconds: float) -> Sequence[Lease]:
        """Lease matching recipients (not active ones) whatever their time, to bounce or drop them.

        At most 10,000 recipients at once: call again until nothing comes.
        """
        ...

    def problems(self) -> Sequence[str]:
        """Sentences on what makes the queue less safe than it should be; none when all is well."""
        ...

    # rules and history

    def rules(self) -> Sequence[HoldRule]:
        """What is held from the start, oldest rule first."""
        ...

    def add_rule(self, rule: HoldRule) -> HoldRule:
        """Holds for mail that comes from now on; at most 1,000 (`queue.too_many_rules`). The rule with its number."""
        ...

    def remove_rule(self, number: int) -> HoldRule:
        """What it held stays held; `queue.no_such_rule`."""
        ...

    def pauses(self) -> Sequence[Pause]:
        """What is not delivered to at present, by domain, "" (the whole queue) first."""
        ...

    def pause(self, pause: Pause) -> None:
        """`claim` passes this destination over from now on, in every process; again replaces the reason.

        At most 1,000 (`queue.too_many_pauses`).
        """
        ...

    def resume(self, destination: str, now: datetime) -> Pause:
        """Deliver again; what waited lives a day more when its time is over. `queue.not_paused`."""
        ...

    def history(self, where: QueueFilter, offset: int, limit: int) -> Sequence[Finished]:
        """Recipients that have left, latest first. `domain`, `older_than_seconds`, ids, addresses and text of the filter count."""
        ...

    def forget(self, before: datetime, limit: int) -> int:
        """Remove what left before that time from the history, at most `limit` recipients; how many."""
        ...


class Transport(Protocol):
    """Delivers one lease. The queue knows nothing else of SMTP or of mailboxes."""

    async def deliver(self, lease: Lease) -> Sequence[Outcome]:
        """One outcome per leased recipient; raises nothing but cancellation; bounded in time by itself."""
        ...


def no_such_id() -> QueueError:
    """For an id that nothing waits under."""
    return QueueError("queue.no_such_id", "the queue holds no message with this id")
