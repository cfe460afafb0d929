"""Learns from what people do with their mail, in the core and at its leisure: a few seconds behind, one account at a time.

Hints say which accounts changed; a start looks at all, and once an hour at those where something was read a day ago.
After each account the job rests five times as long as it worked.
What fails comes again with the account's next change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import MailboxError
from mailbox_app.events.bus import LocalBus
from mailbox_app.events.hints import Topic
from mailbox_app.ids import AccountId, AccountRef
from mailbox_app.observe.metrics import Metrics

_GATHER_SECONDS = 5.0
_REST = 5
_KEPT_EVERY_SECONDS = 3_600.0
_LEAST_REST_SECONDS = 0.005
_ACCOUNT_PREFIX = "account:"


class Learning:
    """The one job of the core that teaches."""

    def __init__(
        self,
        catch_up: Callable[[AccountRef], int],
        accounts_due: Callable[[], Sequence[AccountId]],
        accounts: Callable[[], Sequence[AccountRef]],
        account: Callable[[AccountId], AccountRef | None],
        is_on: Callable[[], bool],
        bus: LocalBus,
        offload: Offload,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._catch_up = catch_up
        self._accounts_due = accounts_due
        self._accounts = accounts
        self._account = account
        self._is_on = is_on
        self._bus = bus
        self._offload = offload
        self._clock = clock
        self._metrics = metrics
        self._log = structlog.get_logger("junk")
        self._changed: dict[int, None] = {}
        self._all = True
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        watch = self._bus.watch(self._hinted)
        self._wake.set()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._remind())
                await self._listen()
        finally:
            watch.close()

    async def _listen(self) -> None:
        while True:
            await self._wake.wait()
            await self._clock.sleep(_GATHER_SECONDS)
            self._wake.clear()
            if not self._is_on():
                continue
            for ref in await self._due():
                await self._look(ref)

    async def _remind(self) -> None:
        while True:
            await self._clock.sleep(_KEPT_EVERY_SECONDS)
            try:
                due = await self._offload.run(self._accounts_due)
            except MailboxError as error:
                self._log.warning("learning_put_off", reason=str(error))
                continue
            self._changed |= dict.fromkeys(due)
            if due:
                self._wake.set()

    def _hinted(self, topic: Topic | None) -> None:
        """On the loop. None: hints were lost."""
        if topic is None:
            self._all = True
        elif topic.startswith(_ACCOUNT_PREFIX) and (number := topic.removeprefix(_ACCOUNT_PREFIX)).isdecimal():
            self._changed[int(number)] = None
        else:
            return
        self._wake.set()

    async def _due(self) -> Sequence[AccountRef]:
        changed, self._changed = self._changed, {}
        if not self._all:
            return [ref for number in changed if (ref := self._account(AccountId(number))) is not None]
        self._all = False
        try:
            return await self._offload.run(self._accounts)
        except (MailboxError, OSError) as error:
            self._log.warning("accounts_unlisted", reason=str(error))
            self._all = True
            return ()

    async def _look(self, ref: AccountRef) -> None:
        began = self._clock.monotonic_seconds()
        try:
            await self._offload.run(self._catch_up, ref)
        except (MailboxError, OSError) as error:
            self._log.warning("learning_put_off", account_id=ref.account_id, reason=str(error))
        except Exception:  # noqa: BLE001 - one account's trouble must not end the core
            self._log.exception("learning_failed", account_id=ref.account_id)
            self._metrics.errors.inc()
        took = self._clock.monotonic_seconds() - began
        await self._clock.sleep(max(_LEAST_REST_SECONDS, took * _REST))
