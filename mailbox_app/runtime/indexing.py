"""Keeps the search indexes up to date: one account at a time, behind delivery, at the machine's leisure.

Hints say which accounts changed; a start begins with all. After each batch the job rests as long as the batch took,
and several times as long while mail arrives, so it never takes more than half of one processor and gives way under load.
What fails is tried again later: an index that is behind only makes searches read more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import MailboxError
from mailbox_app.events.bus import LocalBus
from mailbox_app.events.hints import Topic
from mailbox_app.ids import AccountId, AccountRef
from mailbox_app.observe.metrics import Metrics
from mailbox_app.store.search.builder import IndexBuilder

_GATHER_SECONDS = 2.0
"""What arrives within it is indexed together; a search reads it from the messages until then."""
_RETRY_SECONDS = 300.0
_LEAST_REST_SECONDS = 0.002
_REST = 1
_REST_UNDER_LOAD = 5
_ACCOUNT_PREFIX = "account:"

Progress = Callable[[int, int], Awaitable[None]]
"""(messages done, messages in all)."""


class SearchIndexing:
    """The one job of the core that writes search.db files."""

    def __init__(
        self,
        builder: IndexBuilder,
        accounts: Callable[[], Sequence[AccountRef]],
        account: Callable[[AccountId], AccountRef | None],
        bus: LocalBus,
        offload: Offload,
        clock: Clock,
        metrics: Metrics,
        idle: Callable[[], object],
    ) -> None:
        self._builder = builder
        self._accounts = accounts
        self._account = account
        self._bus = bus
        self._offload = offload
        self._clock = clock
        self._metrics = metrics
        self._idle = idle
        """Called in a thread when nothing is left to do."""
        self._log = structlog.get_logger("search")
        self._changed: dict[int, None] = {}
        self._all = True
        self._failed: set[int] = set()
        self._wake = asyncio.Event()
        self._waiting: dict[int, int] = {}
        self._hints = 0
        self._turn = asyncio.Lock()
        self._give_way = False
        """Somebody waits for the turn."""

    def waiting_count(self) -> int:
        """Messages known not to be indexed yet, of all accounts."""
        return sum(self._waiting.values())

    def size_bytes(self, ref: AccountRef) -> int:
        """Disk space of an account's index; blocks."""
        return self._builder.size_bytes(ref)

    async def run(self) -> None:
        """Until cancelled."""
        watch = self._bus.watch(self._hinted)
        self._wake.set()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._retry())
                while True:
                    await self._wake.wait()
                    await self._clock.sleep(_GATHER_SECONDS)
                    self._wake.clear()
                    for ref in await self._next_accounts():
                        async with self._turn:
                            await self._bring_up(ref)
                    await self._offload.run(self._idle)
        finally:
            watch.close()

    async def rebuild(self, ref: AccountRef, progress: Progress) -> int:
        """Throw an account's index away and make it anew, now and without rests; the number of messages indexed."""
        self._give_way = True
        async with self._turn:
            self._give_way = False
            await self._offload.run(self._builder.discard, ref)
            total = await self._offload.run(self._builder.waiting, ref)
            done = 0
            batches = self._builder.batches(ref)
            while (count := await self._offload.run(_next, batches)) is not None:
                done += count
                await progress(done, total)
            self._note(ref, await self._offload.run(self._builder.waiting, ref))
            return done

    def _hinted(self, topic: Topic | None) -> None:
        """On the loop. None: hints were lost."""
        if topic is None:
            self._all = True
        elif topic.startswith(_ACCOUNT_PREFIX) and (number := topic.removeprefix(_ACCOUNT_PREFIX)).isdecimal():
            self._hints += 1
            self._changed[int(number)] = None
        else:
            return
        self._wake.set()

    async def _retry(self) -> None:
        while True:
            await self._clock.sleep(_RETRY_SECONDS)
            if self._failed:
                self._changed.update(dict.fromkeys(self._failed))
                self._failed.clear()
                self._wake.set()

    async def _next_accounts(self) -> Sequence[AccountRef]:
        """What there is to do, counted first so that the gauge tells how much it is."""
        changed, self._changed = self._changed, {}
        if not self._all:
            return [ref for number in changed if (ref := self._account(AccountId(number))) is not None]
        self._all = False
        behind = []
        try:
            refs = await self._offload.run(self._accounts)
        except (MailboxError, OSError) as error:
            self._log.warning("accounts cannot be listed, tried again later", reason=str(error))
            self._failed.update(changed)
            return []
        self._waiting.clear()
        for ref in refs:
            if await self._count(ref):
                behind.append(ref)
            await self._clock.sleep(_LEAST_REST_SECONDS)
        return behind

    async def _count(self, ref: AccountRef) -> int:
        try:
            count = await self._offload.run(self._builder.waiting, ref)
        except (MailboxError, OSError) as error:
            self._put_off(ref, error)
            return 1
        self._note(ref, count)
        return count

    async def _bring_up(self, ref: AccountRef) -> None:
        """Index what is new of one account; given up in the middle when somebody else wants the turn."""
        try:
            self._note(ref, await self._offload.run(self._builder.waiting, ref))
            batches = self._builder.batches(ref)
            seen = self._hints
            while True:
                began = self._clock.monotonic_seconds()
                count = await self._offload.run(_next, batches)
                rest = _REST if seen == self._hints else _REST_UNDER_LOAD
                seen = self._hints
                took = self._clock.monotonic_seconds() - began
                await self._clock.sleep(max(_LEAST_REST_SECONDS, took * rest))
                if count is None:  # the last step closed the file, which costs the disk something
                    break
                self._note(ref, max(0, self._waiting.get(ref.account_id, 0) - count))
                if self._give_way:
                    self._changed[ref.account_id] = None
                    self._wake.set()
                    return
            left = await self._offload.run(self._builder.waiting, ref)
            self._note(ref, left)
            if left:
                self._failed.add(ref.account_id)
        except (MailboxError, OSError) as error:
            self._put_off(ref, error)
        except Exception:  # noqa: BLE001 - one account's trouble must not end the core
            self._log.exception("search index cannot be built", account_id=ref.account_id)
            self._metrics.errors.inc()
            self._failed.add(ref.account_id)

    def _put_off(self, ref: AccountRef, error: Exception) -> None:
        self._log.warning("search index is behind, tried again later", account_id=ref.account_id, reason=str(error))
        self._failed.add(ref.account_id)

    def _note(self, ref: AccountRef, count: int) -> None:
        if count:
            self._waiting[ref.account_id] = count
        else:
            self._waiting.pop(ref.account_id, None)
        self._metrics.search_waiting.set(self.waiting_count())


def _next(batches: Iterator[int]) -> int | None:
    return next(batches, None)
