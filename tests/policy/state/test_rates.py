"""Rates: a sliding window, one count for all processes, and a local one when the file is in trouble."""

from __future__ import annotations

import sqlite3

import pytest

from mailbox_app.db.redis import PAUSE_SECONDS
from mailbox_app.policy.state import rates as module
from mailbox_app.policy.state.rates import HOUR, MINUTE, CountedRates, SqliteRates
from mailbox_app.policy.state.shared.rates import RedisRates
from tests.support.clock import FakeClock
from tests.support.state_place import StatePlace


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def opened(place: StatePlace, clock: FakeClock) -> CountedRates:
    return place.make(SqliteRates, RedisRates, clock)


@pytest.fixture
def rates(place: StatePlace, clock: FakeClock) -> CountedRates:
    return opened(place, clock)


def test_the_window_slides(rates: CountedRates, clock: FakeClock) -> None:
    assert [rates.count("a", MINUTE) for _ in range(10)] == list(range(1, 11))
    assert rates.count("b", MINUTE, 0) == 0
    clock.skip(90)  # the first minute lies half in the window
    assert rates.count("a", MINUTE, 0) == 5
    clock.skip(30)
    assert rates.count("a", MINUTE, 0) == 0


def test_processes_count_together_after_a_sync(place: StatePlace, rates: CountedRates, clock: FakeClock) -> None:
    other = opened(place, clock)
    rates.count("a", HOUR, 5)
    other.count("a", HOUR, 2)
    rates.sync()
    other.sync()
    assert other.count("a", HOUR, 0) == 7
    assert rates.count("a", HOUR, 0) == 5
    rates.sync()
    assert rates.count("a", HOUR) == 8


def test_a_restarted_process_knows_what_was_counted(place: StatePlace, rates: CountedRates, clock: FakeClock) -> None:
    rates.count("a", HOUR, 5)
    rates.sync()
    again = opened(place, clock)
    assert again.count("a", HOUR, 0) == 0
    again.sync()
    assert again.count("a", HOUR, 0) == 5


def test_trouble_leaves_the_own_count_and_loses_nothing(
    place: StatePlace,
    rates: CountedRates,
    clock: FakeClock,
) -> None:
    if place.is_redis:
        place.fail()
    else:
        other = sqlite3.connect(place.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
    rates.count("a", HOUR, 3)
    rates.sync()
    assert rates.count("a", HOUR) == 4
    if place.is_redis:
        place.recover()
        clock.skip(PAUSE_SECONDS)
    else:
        other.execute("ROLLBACK")
        other.close()
    rates.sync()
    again = opened(place, clock)
    again.count("a", HOUR, 0)
    again.sync()
    assert again.count("a", HOUR, 0) == 4


def test_memory_is_bounded(rates: CountedRates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_KEYS", 100)
    for number in range(1_000):
        rates.count(f"key {number}", MINUTE)
    assert len(rates._counts) == 100
    assert len(rates._new) == 100


def test_redis_holds_no_more_keys_than_it_may(
    place: StatePlace,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if place.server is None:
        pytest.skip("state.db has a bound of its own")
    monkeypatch.setattr("mailbox_app.policy.state.shared.rates.MAX_KEYS", 100)
    rates = opened(place, clock)
    for number in range(1_000):
        rates.count(f"key {number}", MINUTE)
    rates.sync()
    client = place.server.client()
    (key,) = client.keys("mailbox:rates:*")
    assert client.hlen(key) == 100
    assert 0 < client.ttl(key) <= 3 * MINUTE
    assert rates.count("key 999", MINUTE) == 2, "its own count goes on"
