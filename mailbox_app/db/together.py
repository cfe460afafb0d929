"""What several threads want at the same moment is done once for all of them: how synchronous callers share an fsync.

A call that comes alone is done at once and waits for nobody. Calls that come while another is under way are done together by the
first of them whose turn it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
T = TypeVar("T")


class _Call(Generic[Item, T]):
    """One thread's wish."""

    __slots__ = ("error", "is_done", "item", "result")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.is_done = False
        self.result: T
        self.error: BaseException | None = None


class Together(Generic[Item, T]):
    """`act(items)` answers one result or exception per item, in order; if it raises, every item of the batch gets that error."""

    def __init__(self, act: Callable[[Sequence[Item]], Sequence[T | Exception]], limit: int = 100) -> None:
        self._act = act
        self._limit = limit
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._waiting: list[_Call[Item, T]] = []

    def submit(self, item: Item) -> T:
        """The result for this item, or its exception."""
        call = _Call[Item, T](item)
        with self._guard:
            self._waiting.append(call)
        with self._turn:
            while not call.is_done:  # more than once only behind a full batch
                self._act_once()
        if call.error is not None:
            raise call.error
        return call.result

    def _act_once(self) -> None:
        with self._guard:
            batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
        results: Sequence[T | BaseException]
        try:
            results = self._act([call.item for call in batch])
        except BaseException as error:  # noqa: BLE001 - raised again in every thread that waits for it
            results = [error] * len(batch)
        for call, result in zip(batch, results, strict=True):
            if isinstance(result, BaseException):
                call.error = result
            else:
                call.result = result
            call.is_done = True
