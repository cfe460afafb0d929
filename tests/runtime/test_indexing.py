"""The job that keeps search indexes up to date."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mailbox_app.clock import SystemClock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import StoreError
from mailbox_app.events.bus import LocalBus
from mailbox_app.ids import AccountId, AccountRef
from mailbox_app.observe.metrics import Metrics
from mailbox_app.runtime.indexing import SearchIndexing
from mailbox_app.store.interface import Content, NewMessage
from mailbox_app.store.maildir.backend import MaildirStore
from mailbox_app.store.search.builder import IndexBuilder
from mailbox_app.store.search.index import SearchIndex
from tests.support.clock import FakeClock, settle

ALICE, BOB = (AccountRef(AccountId(number), "example.org", name, 0) for number, name in ((1, "alice"), (2, "bob")))


class Machine:
    """A store with two accounts, and the job over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.bus = LocalBus()
        self.bus.bind(asyncio.get_running_loop())
        self.offload = Offload(2)
        self.store = MaildirStore(folder, self.bus, hostname="mx.example.org", clock=SystemClock())
        self.metrics = Metrics()
        self.builder = IndexBuilder(self.store, folder)
        refs = {1: ALICE, 2: BOB}
        self.idle_count = 0
        self.job = SearchIndexing(
            self.builder, lambda: [ALICE, BOB], refs.get, self.bus, self.offload, self.clock, self.metrics, self._idle
        )

    def _idle(self) -> None:
        self.idle_count += 1

    def deliver(self, ref: AccountRef, subject: str) -> None:
        body = f"Subject: {subject}\r\n\r\nhello\r\n".encode()
        staged = self.store.stage(ref, Content(b"", body, len(body)))
        self.store.account(ref).append([NewMessage(staged, "INBOX")])

    def found(self, ref: AccountRef, needle: str) -> list[int]:
        inbox = self.store.account(ref).mailbox("INBOX").mailbox_id
        return list(SearchIndex(self.folder).candidates(ref, inbox, needle, "text").uids)

    async def until_idle(self, count: int) -> None:
        """Let time go on until the job had nothing to do so many times."""
        async with asyncio.timeout(10):
            while self.idle_count < count:
                await self.clock.advance(1)
                await asyncio.sleep(0.001)  # threads are at work
        await settle()


@asynccontextmanager
async def machine(folder: Path) -> AsyncIterator[Machine]:
    made = Machine(folder)
    yield made
    made.offload.close()
    made.store.close()


@asynccontextmanager
async def running(made: Machine) -> AsyncIterator[None]:
    task = asyncio.get_running_loop().create_task(made.job.run())
    yield
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_start_indexes_all_accounts_and_hints_what_comes_later(tmp_path: Path) -> None:
    async with machine(tmp_path) as made:
        made.deliver(ALICE, "zebra")
        made.deliver(BOB, "quagga")
        async with running(made):
            await made.until_idle(1)
            assert (made.found(ALICE, "zebra"), made.found(BOB, "quagga")) == ([1], [1])
            made.deliver(BOB, "zebra")
            await made.until_idle(2)
            assert made.found(BOB, "zebra") == [2]
            assert made.job.waiting_count() == 0


async def test_the_gauge_tells_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with machine(tmp_path) as made:
        made.deliver(ALICE, "zebra")

        def fails(_: object, ref: AccountRef) -> object:
            raise StoreError("store.full", "storage is not writable now", temporary=True)

        with monkeypatch.context() as patch:
            patch.setattr(IndexBuilder, "batches", fails)
            async with running(made):
                await made.until_idle(1)
                assert made.job.waiting_count() == 1
                assert made.metrics.search_waiting._value.get() == 1
                patch.undo()
                await made.clock.advance(400)
                await made.until_idle(2)
                assert made.job.waiting_count() == 0
                assert made.metrics.search_waiting._value.get() == 0


async def test_a_mistake_of_the_program_is_counted_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with machine(tmp_path) as made:
        made.deliver(ALICE, "zebra")
        made.deliver(BOB, "zebra")
        works = IndexBuilder.batches
        monkeypatch.setattr(
            IndexBuilder, "batches", lambda self, ref: works(self, ref) if ref is BOB else [].__getitem__(1)
        )
        async with running(made):
            await made.until_idle(1)
            assert made.found(BOB, "zebra") == [1]
            assert made.metrics.errors._value.get() == 1


async def test_lost_hints_are_made_up_for(tmp_path: Path) -> None:
    async with machine(tmp_path) as made, running(made):
        await made.until_idle(1)
        store = MaildirStore(tmp_path, LocalBus(), hostname="mx.example.org", clock=SystemClock())
        made.store, ours = store, made.store
        made.deliver(ALICE, "zebra")
        made.bus.resync()
        await made.until_idle(2)
        assert made.found(ALICE, "zebra") == [1]
        store.close()
        made.store = ours


async def test_an_operator_makes_an_index_anew_and_sees_how_far_it_is(tmp_path: Path) -> None:
    async with machine(tmp_path) as made:
        for number in range(3):
            made.deliver(ALICE, f"zebra {number}")
        seen: list[tuple[int, int]] = []

        async def progress(done: int, total: int) -> None:
            seen.append((done, total))

        async with running(made):
            await made.until_idle(1)
            assert await made.job.rebuild(ALICE, progress) == 3
            assert seen[-1] == (3, 3)
            assert made.found(ALICE, "zebra") == [1, 2, 3]
