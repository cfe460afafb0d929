"""Threads that want the same at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from mailbox_app.db.together import Together


class Gate:
    """An act whose first call waits until it is opened; squares, and refuses zero."""

    def __init__(self) -> None:
        self.batches: list[Sequence[int]] = []
        self.began, self.opened = threading.Event(), threading.Event()

    def act(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(items)
        self.began.set()
        assert self.opened.wait(10)
        return [item * item if item else ValueError("zero") for item in items]


def test_what_comes_while_one_is_under_way_is_done_at_once_and_each_gets_its_own() -> None:
    gate = Gate()
    together = Together(gate.act)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(together.submit, 1)
        assert gate.began.wait(10)
        rest = [pool.submit(together.submit, number) for number in (0, 2, 3, 4, 5, 6, 7)]
        while len(together._waiting) < 7:
            threading.Event().wait(0.001)
        gate.opened.set()
        assert first.result(10) == 1
        with pytest.raises(ValueError, match="zero"):
            rest[0].result(10)
        assert [future.result(10) for future in rest[1:]] == [4, 9, 16, 25, 36, 49]
    assert [len(batch) for batch in gate.batches] == [1, 7]


def test_a_batch_has_a_limit() -> None:
    gate = Gate()
    together = Together(gate.act, limit=3)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(together.submit, 1)
        assert gate.began.wait(10)
        rest = [pool.submit(together.submit, number) for number in range(2, 9)]
        while len(together._waiting) < 7:
            threading.Event().wait(0.001)
        gate.opened.set()
        assert [future.result(10) for future in (first, *rest)] == [number * number for number in range(1, 9)]
    assert [len(batch) for batch in gate.batches] == [1, 3, 3, 1]


def test_trouble_is_everybodys_and_the_next_call_works() -> None:
    answers: list[Sequence[int] | None] = [None, [7]]

    def act(items: Sequence[int]) -> Sequence[int]:
        answer = answers.pop(0)
        if answer is None:
            raise OSError("full")
        return answer

    together = Together(act)
    with pytest.raises(OSError, match="full"):
        together.submit(1)
    assert together.submit(1) == 7
