"""Records what came of leases, many in one durable step: results that arrive while others are written go with the next ones.

A result is on the disk when `settle` returns, and the lease is the caller's until then, so no other attempt can start before.
Trouble with the disk is waited out; a result that cannot be recorded at all spoils no other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.offload import GroupCommit, Offload
from mailbox_app.errors import MailboxError
from mailbox_app.mailqueue.interface import QueueBackend
from mailbox_app.mailqueue.model import Settlement
from mailbox_app.observe.metrics import Metrics

_TOGETHER = 100
_LANES = 3
"""Batches at once: while one removes the files of what has left, the next ones are written."""
_BACK_OFF_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
T = TypeVar("T")


class Patience:
    """Asks again until what is asked does not fail for a temporary reason (disk full, database busy)."""

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._log = structlog.get_logger("queue")

    async def until_done(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Its result; other errors pass."""
        tries = 0
        while True:
            try:
                return await ask()
            except MailboxError as error:
                if not error.temporary:
                    raise
                self._log.error("queue not usable, waiting", code=error.code)
                self._metrics.errors.inc()
            await self._clock.sleep(_BACK_OFF_SECONDS[min(tries, len(_BACK_OFF_SECONDS) - 1)])
            tries += 1


class Settling:
    """One per runner."""

    def __init__(self, backend: QueueBackend, offload: Offload, clock: Clock, patience: Patience) -> None:
        self._backend = backend
        self._clock = clock
        self._patience = patience
        self._group = GroupCommit[int, Settlement, bool](offload, self._commit, _TOGETHER)
        self._lane = 0

    async def settle(self, settlement: Settlement) -> bool:
        """Durable on return; False when the lease had been lost and nothing was recorded."""
        if not self._group.is_idle(self._lane):
            self._lane = next((lane for lane in range(_LANES) if self._group.is_idle(lane)), (self._lane + 1) % _LANES)
        lane = self._lane
        return await self._patience.until_done(lambda: self._group.submit(lane, settlement))

    def _commit(self, _: int, settlements: Sequence[Settlement]) -> Sequence[bool | Exception]:
        try:
            lost = {lease.token for lease in self._backend.settle(settlements, self._clock.now())}
        except Exception as error:
            if len(settlements) == 1 or _concerns_all(error):
                raise
            return [self._alone(settlement) for settlement in settlements]
        return [settlement.lease.token not in lost for settlement in settlements]

    def _alone(self, settlement: Settlement) -> bool | Exception:
        try:
            return not self._backend.settle([settlement], self._clock.now())
        except Exception as error:  # noqa: BLE001 - raised again for whoever waits for this one
            return error


def _concerns_all(error: Exception) -> bool:
    """Whether the queue as a whole does not work now. A refusal may be about one result: nothing else tells them apart."""
    return isinstance(error, MailboxError) and error.temporary and error.code != "queue.refused"
