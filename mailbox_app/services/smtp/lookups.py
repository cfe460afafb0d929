"""Questions to DNS that begin early and are asked once: SPF at MAIL, the client's name at the first wish.

Who waits for one and is cut off leaves it running for the others; it ends with its own time or with its session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Lookup(Generic[T]):
    """One question; `ask` bounds its own time and does not raise."""

    __slots__ = ("_ask", "_task")

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._ask = ask
        self._task: asyncio.Task[T] | None = None

    def start(self) -> asyncio.Task[T]:
        """Begin, if it has not begun."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._ask())
        return self._task

    async def __call__(self) -> T:
        """The answer."""
        return await asyncio.shield(self.start())

    @property
    def answer(self) -> T | None:
        """What is known now without waiting."""
        task = self._task
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return None
        return task.result()

    def close(self) -> None:
        """Nobody will ask any more."""
        if self._task is not None:
            self._task.cancel()
