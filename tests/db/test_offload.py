"""The way off the loop, and the commit that concurrent callers share."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import pytest

from mailbox_app.db.offload import GroupCommit, Offload


@pytest.fixture
async def offload() -> AsyncIterator[Offload]:
    offload = Offload(4)
    yield offload
    offload.close()


async def test_calls_run_in_other_threads_and_errors_come_back(offload: Offload) -> None:
    assert await offload.run(threading.get_ident) != threading.get_ident()
    assert await offload.run(sorted, [2, 1], reverse=True) == [2, 1]
    with pytest.raises(ZeroDivisionError):
        await offload.run(divmod, 1, 0)


async def test_calls_of_one_turn_share_a_visit(offload: Offload) -> None:
    def where(number: int) -> tuple[int, int]:
        return number, threading.get_ident()

    def broken() -> int:
        raise ValueError("its own trouble")

    first, trouble, second = await asyncio.gather(
        offload.join(where, 1), offload.join(broken), offload.join(where, 2), return_exceptions=True
    )
    assert isinstance(trouble, ValueError)
    assert isinstance(first, tuple)
    assert isinstance(second, tuple)
    assert (first[0], second[0]) == (1, 2)
    assert first[1] == second[1] != threading.get_ident()


async def test_a_cancelled_caller_takes_nothing_from_those_who_share_its_visit(offload: Offload) -> None:
    begun, go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow() -> None:
        loop.call_soon_threadsafe(begun.set)
        go.wait(5)

    cancelled = asyncio.create_task(offload.join(slow))
    other = asyncio.create_task(offload.join(lambda: 7))
    await begun.wait()
    cancelled.cancel()
    go.set()
    assert await other == 7
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_joined_calls_fail_when_the_threads_have_been_ended() -> None:
    offload = Offload(1)
    offload.close()
    with pytest.raises(RuntimeError, match="ended"):
        await offload.join(int)


async def test_calls_of_one_key_leave_threads_to_others(offload: Offload) -> None:
    gate = threading.Event()
    stuck = [asyncio.ensure_future(offload.run_for("locked", gate.wait, 10)) for _ in range(20)]
    await asyncio.sleep(0)
    assert await offload.run_for("other", divmod, 7, 2) == (3, 1)
    stuck.pop().cancel()
    gate.set()
    assert all(await asyncio.gather(*stuck))
    assert offload._turns == {}


class Recorder:
    """A commit that waits until it is let go and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[int]]] = []
        self.gate = threading.Event()
        self.started = threading.Event()

    def commit(self, key: str, items: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append((key, list(items)))
        self.started.set()
        self.gate.wait(10)
        if -1 in items:
            raise RuntimeError("all of it failed")
        return [ValueError(item) if item == 13 else item * 2 for item in items]


async def test_callers_that_wait_share_the_next_commit(offload: Offload) -> None:
    recorder = Recorder()
    group = GroupCommit(offload, recorder.commit)
    first = asyncio.create_task(group.submit("a", 1))
    await offload.run(recorder.started.wait, 10)
    others = [asyncio.create_task(group.submit("a", number)) for number in (2, 13, 4)]
    await asyncio.sleep(0)
    recorder.gate.set()
    results = await asyncio.gather(first, *others, return_exceptions=True)
    assert recorder.batches == [("a", [1]), ("a", [2, 13, 4])]
    assert results[:2] + results[3:] == [2, 4, 8]
    assert isinstance(results[2], ValueError)


async def test_batches_are_bounded_and_keep_their_order(offload: Offload) -> None:
    recorder = Recorder()
    recorder.gate.set()
    group = GroupCommit(offload, recorder.commit, limit=3)
    assert await asyncio.gather(*(group.submit("a", number) for number in range(8))) == [n * 2 for n in range(8)]
    assert [item for _, batch in recorder.batches for item in batch] == list(range(8))
    assert max(len(batch) for _, batch in recorder.batches) <= 3


async def test_keys_do_not_wait_for_each_other(offload: Offload) -> None:
    slow = Recorder()

    def commit(key: str, items: Sequence[int]) -> Sequence[int | Exception]:
        return slow.commit(key, items) if key == "slow" else list(items)

    group = GroupCommit(offload, commit)
    waiting = asyncio.create_task(group.submit("slow", 1))
    assert await group.submit("fast", 5) == 5
    slow.gate.set()
    assert await waiting == 2


async def test_raising_commit_is_everybodys_error_and_the_next_one_runs(offload: Offload) -> None:
    recorder = Recorder()
    recorder.gate.set()
    group = GroupCommit(offload, recorder.commit)
    results = await asyncio.gather(group.submit("a", -1), group.submit("a", -1), return_exceptions=True)
    assert [type(result) for result in results] == [RuntimeError, RuntimeError]
    assert await group.submit("a", 3) == 6


async def test_cancelled_caller_leaves_the_commit_and_the_others_alone(offload: Offload) -> None:
    recorder = Recorder()
    group = GroupCommit(offload, recorder.commit)
    first = asyncio.create_task(group.submit("a", 1))
    await offload.run(recorder.started.wait, 10)
    second, third = asyncio.create_task(group.submit("a", 2)), asyncio.create_task(group.submit("a", 3))
    await asyncio.sleep(0)
    first.cancel()
    second.cancel()
    recorder.gate.set()
    assert await third == 6
    assert recorder.batches[1] == ("a", [2, 3])
    assert first.cancelled()
    assert second.cancelled()
