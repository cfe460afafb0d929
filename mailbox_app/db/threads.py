"""A bounded pool of threads that wakes one of them for one call, the one that rested for the shortest time.

Threads that all wait at one queue wake each other for nothing, and each of them wants the interpreter.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

Call = Callable[[], object]


class _Worker:
    """One thread's own place to wait at."""

    __slots__ = ("call", "wake")

    def __init__(self, call: Call) -> None:
        self.call: Call | None = call
        self.wake = threading.Lock()
        self.wake.acquire()


class Threads:
    """Started as they are needed, never ended before `close`; safe from any thread. Calls must not raise."""

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._idle: list[_Worker] = []
        self._waiting: deque[Call] = deque()
        self._closed = False

    def submit(self, call: Call) -> None:
        """Carry it out soon; when all threads are busy, in the order of arrival."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the threads have been ended")
            if self._idle:
                worker = self._idle.pop()
            elif len(self._threads) < self._limit:
                self._start(call)
                return
            else:
                self._waiting.append(call)
                return
        worker.call = call
        worker.wake.release()

    def close(self) -> None:
        """Wait for calls under way and waiting, then end the threads."""
        with self._lock:
            self._closed = True
            resting, self._idle = self._idle, []
        for worker in resting:
            worker.wake.release()
        for thread in self._threads:
            thread.join()

    def _start(self, call: Call) -> None:
        name = f"{self._name}-{len(self._threads)}"
        thread = threading.Thread(target=self._work, args=(_Worker(call),), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self, worker: _Worker) -> None:
        call, worker.call = worker.call, None
        while call is not None:
            call()
            del call  # what it holds must not wait for the next one
            with self._lock:
                call = self._waiting.popleft() if self._waiting else None
                if call is None:
                    if self._closed:
                        return
                    self._idle.append(worker)
            if call is None:
                worker.wake.acquire()
                call, worker.call = worker.call, None


class Started:
    """A call that is carried out beside its starter: by a thread, or by whoever waits for it when no thread came so far."""

    __slots__ = ("_call", "_done", "_error", "_taken")

    def __init__(self, threads: Threads, call: Call) -> None:
        self._call = call
        self._error: BaseException | None = None
        self._taken = threading.Lock()
        self._done = threading.Lock()
        self._done.acquire()
        with suppress(RuntimeError):  # the threads have been ended: done when it is waited for
            threads.submit(self._run)

    def wait(self) -> None:
        """Return when it is done; raises what it raised. To be called once."""
        self._run()
        self._done.acquire()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        if not self._taken.acquire(blocking=False):
            return
        try:
            self._call()
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self._error = error
        finally:
            self._done.release()
