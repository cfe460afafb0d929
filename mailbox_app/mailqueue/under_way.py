"""What this process delivers right now: since when, and at which host it is. For an operator who asks; nothing depends on it.

The runner begins and ends entries, the transport says where it is. All on the event loop; as many entries as there are
deliveries at once, so it is bounded by the workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.model import Lease


@dataclass(frozen=True, slots=True)
class Delivery:
    """One that is going on."""

    queue_id: QueueId
    destination: str
    since: datetime
    host: str = ""
    """The host that is talked to; "" before there is one."""


class UnderWay:
    """The deliveries of one process, by the token of their lease."""

    def __init__(self) -> None:
        self._deliveries: dict[str, Delivery] = {}

    def begin(self, lease: Lease, now: datetime) -> None:
        """A runner has taken it."""
        destination = lease.message.recipients[0].destination
        self._deliveries[lease.token] = Delivery(lease.message.queue_id, destination, now)

    def at(self, lease: Lease, host: str) -> None:
        """It is talking to this host now; of no meaning for a lease that nobody began."""
        if (known := self._deliveries.get(lease.token)) is not None:
            self._deliveries[lease.token] = replace(known, host=host)

    def end(self, lease: Lease) -> None:
        """It is over."""
        self._deliveries.pop(lease.token, None)

    def of(self, queue_id: QueueId) -> Sequence[Delivery]:
        """Those of one message."""
        return [each for each in self._deliveries.values() if each.queue_id == queue_id]

    def all(self) -> Sequence[Delivery]:
        """Every one, the oldest first."""
        return list(self._deliveries.values())
