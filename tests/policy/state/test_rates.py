"""Rates: a sliding window, one count for all processes, and a local one when the file is in trouble."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.policy.state import rates as module
from mailbox_app.policy.state.rates import HOUR, MINUTE, SqliteRates
from tests.support.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def rates(tmp_path: Path, clock: FakeClock) -> Iterator[SqliteRates]:
    made = SqliteRates(tmp_path / "state.db", clock)
    yield made
    made.close()


def test_the_window_slides(rates: SqliteRates, clock: FakeClock) -> None:
    assert [rates.count("a", MINUTE) for _ in range(10)] == list(range(1, 11))
    assert rates.count("b", MINUTE, 0) == 0
    clock.skip(90)  # the first minute lies half in the window
    assert rates.count("a", MINUTE, 0) == 5
    clock.skip(30)
    assert rates.count("a", MINUTE, 0) == 0


def test_processes_count_together_after_a_sync(tmp_path: Path, rates: SqliteRates, clock: FakeClock) -> None:
    other = SqliteRates(tmp_path / "state.db", clock)
    rates.count("a", HOUR, 5)
    other.count("a", HOUR, 2)
    rates.sync()
    other.sync()
    assert other.count("a", HOUR, 0) == 7
    assert rates.count("a", HOUR, 0) == 5
    rates.sync()
    assert rates.count("a", HOUR) == 8
    other.close()


def test_a_restarted_process_knows_what_was_counted(tmp_path: Path, rates: SqliteRates, clock: FakeClock) -> None:
    rates.count("a", HOUR, 5)
    rates.close()
    again = SqliteRates(tmp_path / "state.db", clock)
    assert again.count("a", HOUR, 0) == 0
    again.sync()
    assert again.count("a", HOUR, 0) == 5
    again.close()


def test_trouble_with_the_file_leaves_the_own_count_and_loses_nothing(
    tmp_path: Path, rates: SqliteRates, clock: FakeClock
) -> None:
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    rates.count("a", HOUR, 3)
    rates.sync()
    assert rates.count("a", HOUR) == 4
    other.execute("ROLLBACK")
    rates.sync()
    assert other.execute("SELECT count FROM rates").fetchall() == [(4,)]
    other.close()


def test_memory_is_bounded(rates: SqliteRates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_KEYS", 100)
    for number in range(1_000):
        rates.count(f"key {number}", MINUTE)
    assert len(rates._counts) == 100
    assert len(rates._new) == 100
