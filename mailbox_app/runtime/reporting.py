"""Reports between mail servers, in the core: ours leave once a day, those of others are read soon after they came.

The day is UTC's. Each server has its own minute after midnight, so that not all send at once; what could not be sent is tried
again every half hour. Accounts that reports are addressed to are looked at when a hint says that they changed. What fails is
logged and comes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import MailboxError
from mailbox_app.events.bus import LocalBus
from mailbox_app.events.hints import Topic
from mailbox_app.ids import AccountRef
from mailbox_app.observe.metrics import Metrics

DAY_SECONDS = 86_400.0
_FIRST_SECONDS = 60.0
_AGAIN_SECONDS = 1_800.0
_EARLIEST_SECONDS, _SPREAD_SECONDS = 600, 10_800
_GATHER_SECONDS = 3.0
_ACCOUNT_PREFIX = "account:"


def minute_of(hostname: str) -> float:
    """Seconds after midnight at which a server's reports leave; always the same."""
    number = int.from_bytes(blake2b(hostname.lower().encode(), digest_size=4).digest())
    return float(_EARLIEST_SECONDS + number % _SPREAD_SECONDS)


class Reporting:
    """The one job of the core for reports."""

    def __init__(
        self,
        senders: Sequence[Callable[[], Awaitable[int]]],
        accounts: Callable[[], Sequence[AccountRef]],
        catch_up: Callable[[AccountRef], int],
        purge: Callable[[], int],
        hostname: str,
        bus: LocalBus,
        offload: Offload,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._senders = senders
        self._accounts = accounts
        self._catch_up = catch_up
        self._purge = purge
        self._after_midnight = minute_of(hostname)
        self._bus = bus
        self._offload = offload
        self._clock = clock
        self._metrics = metrics
        self._log = structlog.get_logger("reports")
        self._changed: set[int] = set()
        self._all = True
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send())
            tasks.create_task(self._read())

    async def _send(self) -> None:
        await self._clock.sleep(_FIRST_SECONDS)
        while True:
            early = self._after_midnight - self._clock.epoch_seconds() % DAY_SECONDS
            if early > 0:
                await self._clock.sleep(early)
            for send_due in self._senders:
                await self._guarded("reports_unsent", send_due)
            await self._guarded("reports_unpurged", lambda: self._offload.run(self._purge))
            await self._clock.sleep(_AGAIN_SECONDS)

    async def _read(self) -> None:
        watch = self._bus.watch(self._hinted)
        self._wake.set()
        try:
            while True:
                await self._wake.wait()
                await self._clock.sleep(_GATHER_SECONDS)
                self._wake.clear()
                await self._guarded("reports_unread", self._read_round)
        finally:
            watch.close()

    def _hinted(self, topic: Topic | None) -> None:
        """On the loop. None: hints were lost."""
        if topic is None:
            self._all = True
        elif topic.startswith(_ACCOUNT_PREFIX) and (number := topic.removeprefix(_ACCOUNT_PREFIX)).isdecimal():
            self._changed.add(int(number))
        else:
            return
        self._wake.set()

    async def _read_round(self) -> None:
        changed, everything = self._changed, self._all
        self._changed, self._all = set(), False
        try:
            refs = await self._offload.run(self._accounts)
            for ref in refs:
                if everything or ref.account_id in changed:
                    await self._offload.run(self._catch_up, ref)
        except BaseException:
            self._changed |= changed
            self._all |= everything
            raise

    async def _guarded(self, event: str, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except (MailboxError, OSError) as error:
            self._log.warning(event, reason=str(error))
        except Exception:  # noqa: BLE001 - a report's trouble must not end the core
            self._log.exception(event)
            self._metrics.errors.inc()
