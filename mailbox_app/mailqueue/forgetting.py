"""Forgets what has left the queue when its time is over: a few rows at once, so that nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import MailboxError
from mailbox_app.mailqueue.interface import QueueBackend

_EVERY_SECONDS = 600.0
_AT_ONCE = 200
_PAUSE_SECONDS = 0.2
"""After each step, for those who bring and take mail."""


class Forgetting:
    """One per process that runs the queue; several on one backend share the work."""

    def __init__(self, backend: QueueBackend, history_days: Callable[[], int], offload: Offload, clock: Clock) -> None:
        self._backend = backend
        self._history_days = history_days
        self._offload = offload
        self._clock = clock
        self._log = structlog.get_logger("queue")

    async def run(self) -> None:
        """Until cancelled; what fails is logged and tried again at the next round."""
        while True:
            await self._clock.sleep(_EVERY_SECONDS)
            try:
                await self.forget_due()
            except MailboxError as error:
                self._log.warning("history stays longer", code=error.code)

    async def forget_due(self) -> int:
        """One round; how many recipients were forgotten."""
        before = self._clock.now() - timedelta(days=self._history_days())
        total = 0
        while gone := await self._offload.run(self._backend.forget, before, _AT_ONCE):
            total += gone
            await self._clock.sleep(_PAUSE_SECONDS)
        return total
