from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.config.schema import Queue
from mailbox_app.mailqueue.schedule import (
    DELAYS_SECONDS,
    LIFETIME,
    MAX_ATTEMPTS,
    Schedule,
    next_attempt_at,
    schedule_of,
)

ARRIVED = datetime(2026, 1, 5, 10, tzinfo=UTC)
EXPIRES = ARRIVED + LIFETIME
CHANCE = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("attempts", "minutes"),
    [(1, 5), (2, 15), (3, 30), (4, 60), (5, 120), (6, 240), (7, 480), (8, 960), (9, 1440), (10, 1440), (14, 1440)],
)
def test_delays_grow_from_five_minutes_to_a_day(attempts: int, minutes: int) -> None:
    assert next_attempt_at(attempts, ARRIVED, EXPIRES, 0.5) == ARRIVED + timedelta(minutes=minutes)


@given(st.integers(1, 14), CHANCE)
def test_the_jitter_is_a_tenth_either_way(attempts: int, chance: float) -> None:
    planned = DELAYS_SECONDS[min(attempts, 9) - 1]
    at = next_attempt_at(attempts, ARRIVED, EXPIRES, chance)
    assert at is not None
    assert planned * 0.9 - 0.001 <= (at - ARRIVED).total_seconds() <= planned * 1.1 + 0.001


@given(st.lists(CHANCE, min_size=20, max_size=20))
def test_a_message_gets_at_most_fifteen_tries_all_before_its_expiry(chances: list[float]) -> None:
    tries = [ARRIVED]
    for chance in chances:
        at = next_attempt_at(len(tries), tries[-1], EXPIRES, chance)
        if at is None:
            break
        assert at > tries[-1]
        tries.append(at)
    assert len(tries) in (14, MAX_ATTEMPTS)
    assert tries[-1] < EXPIRES
    assert tries[-1] > EXPIRES - timedelta(days=1)


def test_the_last_try_is_drawn_back_to_just_before_the_expiry() -> None:
    at = next_attempt_at(9, EXPIRES - timedelta(hours=1), EXPIRES, 0.5)
    assert at == EXPIRES - timedelta(minutes=1)
    assert next_attempt_at(10, at, EXPIRES, 0.5) is None


def test_fifteen_tries_are_the_end() -> None:
    assert next_attempt_at(MAX_ATTEMPTS, ARRIVED, EXPIRES, 0.0) is None


def test_an_operator_may_have_another_schedule() -> None:
    schedule = Schedule((60, 600), 3)
    assert schedule.next_attempt_at(1, ARRIVED, EXPIRES, 0.5) == ARRIVED + timedelta(minutes=1)
    assert schedule.next_attempt_at(2, ARRIVED, EXPIRES, 0.5) == ARRIVED + timedelta(minutes=10)
    assert schedule.next_attempt_at(3, ARRIVED, EXPIRES, 0.5) is None


def test_the_usual_schedule_is_that_of_the_configuration_without_a_word() -> None:
    assert schedule_of(Queue()) == Schedule()
