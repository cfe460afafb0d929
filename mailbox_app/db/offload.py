"""The way off the loop: the only place that runs synchronous store, queue and directory calls in threads.

`Offload.run` is one call in a thread. `GroupCommit` gathers what arrives while a commit runs and hands it to the next
one as a batch, so concurrent deliveries share fsyncs and a lone one waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

from mailbox_app.db.threads import Threads

P = ParamSpec("P")
T = TypeVar("T")
Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


@dataclass(slots=True)
class _Turns:
    """Whose turn it is among the callers with one key."""

    slots: asyncio.Semaphore
    callers: int = 0


class _Job:
    """One call on its way through a thread."""

    __slots__ = ("args", "done", "function", "kwargs", "loop")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        done: asyncio.Future[Any],
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.loop = loop
        self.done = done
        self.function = function
        self.args = args
        self.kwargs = kwargs

    def carry_out(self) -> None:
        """In a thread: call, and hand the outcome to the loop."""
        result: object = None
        error: BaseException | None = None
        try:
            result = self.function(*self.args, **self.kwargs)
        except StopIteration as raised:  # which no future can carry
            error = RuntimeError("the call ran out of items")
            error.__cause__ = raised
        except BaseException as raised:  # noqa: BLE001 - raised again where it was asked for
            error = raised
        with suppress(RuntimeError):  # the loop has ended: nobody waits any more
            self.loop.call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: object, error: BaseException | None) -> None:
        if self.done.done():  # the caller was cancelled
            return
        if error is None:
            self.done.set_result(result)
        else:
            self.done.set_exception(error)


_Outcome = tuple[Any, BaseException | None]


def _make_all(calls: Sequence[Callable[[], Any]]) -> Sequence[_Outcome]:
    """In a thread: one after the other; what one raises is its own."""
    outcomes: list[_Outcome] = []
    for call in calls:
        try:
            outcomes.append((call(), None))
        except Exception as error:  # noqa: BLE001 - raised again where it was asked for
            outcomes.append((None, error))
    return outcomes


def _hand_out(calls: Sequence[tuple[asyncio.Future[Any], object]], visit: asyncio.Future[Sequence[_Outcome]]) -> None:
    trouble = visit.exception()
    outcomes = visit.result() if trouble is None else [(None, trouble)] * len(calls)
    for (done, _), (result, error) in zip(calls, outcomes, strict=True):
        if done.done():  # its caller was cancelled
            continue
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)


class Offload:
    """A bounded pool of threads. 16 are enough to keep one disk busy with fsyncs.

    Every delivery comes this way, so a call costs one future and one wake-up of the loop: half of what an executor's
    two chained futures do.
    """

    def __init__(self, threads: int = 16) -> None:
        self._threads = Threads(threads, "offload")
        self._share = max(1, threads * 3 // 8)
        self._turns: dict[Hashable, _Turns] = {}
        self._joined: list[tuple[asyncio.Future[Any], Callable[[], Any]]] = []

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one synchronous call in a thread; its exception is raised here.

        A cancelled caller leaves the call running to its end: a started commit is never cut in half.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._send(done, function, args, kwargs)
        return await done

    def _send(
        self,
        done: asyncio.Future[T],
        function: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._threads.submit(_Job(done.get_loop(), done, function, args, kwargs).carry_out)

    async def join(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Like `run`, but all that is asked for in one turn of the loop shares one visit to a thread, one after the other.

        For looks into a database that take less time than the way there; a long call would hold up the others.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if not self._joined:
            asyncio.get_running_loop().call_soon(self._send_joined)
        self._joined.append((done, partial(function, *args, **kwargs)))
        return await done

    def _send_joined(self) -> None:
        calls, self._joined = self._joined, []
        wanted = [each for each in calls if not each[0].done()]
        if not wanted:
            return
        visit: asyncio.Future[Sequence[_Outcome]] = asyncio.get_running_loop().create_future()
        visit.add_done_callback(partial(_hand_out, wanted))
        try:
            self._send(visit, _make_all, ([call for _, call in wanted],), {})
        except RuntimeError as error:
            visit.set_exception(error)

    async def run_for(self, key: Hashable, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Like `run`, but calls of one key take a part of the threads at most, whatever lock they all wait for."""
        turns = self._turns.get(key)
        if turns is None:
            turns = self._turns[key] = _Turns(asyncio.Semaphore(self._share))
        turns.callers += 1
        try:
            async with turns.slots:
                return await self.run(function, *args, **kwargs)
        finally:
            turns.callers -= 1
            if not turns.callers:
                del self._turns[key]

    def close(self) -> None:
        """Wait for calls under way and waiting, then end the threads."""
        self._threads.close()


class GroupCommit(Generic[Key, Item, T]):
    """Batches of items with one key go to `commit(key, items)` in a thread, one batch of a key at a time.

    `commit` answers one result or exception per item, in order; if it raises, every item of the batch gets that error.
    """

    def __init__(
        self, offload: Offload, commit: Callable[[Key, Sequence[Item]], Sequence[T | Exception]], limit: int = 100
    ) -> None:
        self._offload = offload
        self._commit = commit
        self._limit = limit
        self._waiting: dict[Key, list[tuple[Item, asyncio.Future[T]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def is_idle(self, key: Key) -> bool:
        """Whether an item for the key would be committed at once."""
        return key not in self._waiting

    async def submit(self, key: Key, item: Item) -> T:
        """Commit the item together with whatever else waits for the key."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        queue = self._waiting.get(key)
        if queue is None:
            self._waiting[key] = [(item, done)]
            task = asyncio.get_running_loop().create_task(self._drain(key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            queue.append((item, done))
        return await done  # cancelling the waiter cancels its future only; the commit goes on

    async def _drain(self, key: Key) -> None:
        while queue := self._waiting[key]:
            batch, self._waiting[key] = queue[: self._limit], queue[self._limit :]
            try:
                results = await self._offload.run(self._commit, key, [item for item, _ in batch])
            except Exception as error:  # noqa: BLE001 - handed to every waiter, who answers for it
                results = [error] * len(batch)
            for (_, done), result in zip(batch, results, strict=True):
                if done.cancelled():
                    continue
                if isinstance(result, Exception):
                    done.set_exception(result)
                else:
                    done.set_result(result)
        del self._waiting[key]
