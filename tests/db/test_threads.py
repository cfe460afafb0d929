"""Threads for single calls, and calls carried out beside their starter."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from mailbox_app.db.threads import Started, Threads


def test_more_calls_than_threads_all_run() -> None:
    threads, gate = Threads(2, "test"), threading.Event()
    done: list[tuple[int, str]] = []
    for _ in range(2):
        threads.submit(gate.wait)
    for number in range(50):
        threads.submit(partial(_note, done, number))
    assert done == []
    gate.set()
    threads.close()
    assert sorted(number for number, _ in done) == list(range(50))
    assert {name for _, name in done} <= {"test-0", "test-1"}
    with pytest.raises(RuntimeError):
        threads.submit(gate.wait)


def _note(done: list[tuple[int, str]], number: int) -> None:
    done.append((number, threading.current_thread().name))


def test_who_waits_carries_out_what_no_thread_came_to() -> None:
    threads, gate, seen = Threads(1, "test"), threading.Event(), []
    threads.submit(gate.wait)
    Started(threads, lambda: seen.append(threading.current_thread())).wait()
    assert seen == [threading.current_thread()]
    gate.set()
    threads.close()
    Started(threads, lambda: seen.append(threading.current_thread())).wait()
    assert len(seen) == 2


def test_what_a_started_call_raises_is_raised_to_who_waits() -> None:
    threads = Threads(1, "test")
    started = Started(threads, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        started.wait()
    threads.close()
