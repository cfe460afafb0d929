"""Addresses that failed for good."""

from __future__ import annotations

import pytest

from mailbox_app.observe.mail_log import MailEvent
from mailbox_app.policy.state.shared.suppressions import RedisSuppressions
from mailbox_app.policy.state.suppressions import KEPT_SECONDS, SqliteSuppressions, Suppressions, mail_sink
from tests.support.clock import FakeClock
from tests.support.state_place import StatePlace

DAY = 86_400.0
GONE = "gone@far.example"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def kept(place: StatePlace, clock: FakeClock) -> Suppressions:
    return place.make(SqliteSuppressions, RedisSuppressions, clock)


def fail(kept: Suppressions, clock: FakeClock, days: int) -> None:
    for _ in range(days):
        kept.note(GONE, "5.1.1", "550 no such user")
        kept.sync()
        clock.skip(DAY)


def test_three_days_of_failures_suppress(kept: Suppressions, clock: FakeClock) -> None:
    fail(kept, clock, 2)
    assert kept.find(GONE) is None
    fail(kept, clock, 1)
    found = kept.find("Gone@FAR.example")
    assert found is not None
    assert (found.days, found.text) == (3, "550 no such user")
    assert [each.address for each in kept.all(10)] == [GONE]


def test_many_failures_of_one_day_are_one(kept: Suppressions) -> None:
    for _ in range(10):
        kept.note(GONE, "5.1.1", "550 no such user")
    kept.sync()
    assert kept.find(GONE) is None


def test_a_delivery_clears_the_count(kept: Suppressions, clock: FakeClock) -> None:
    fail(kept, clock, 2)
    kept.note(GONE, "2.1.5", "250 ok")
    kept.sync()
    fail(kept, clock, 2)
    assert kept.find(GONE) is None


@pytest.mark.parametrize("enhanced", ["5.7.1", "4.1.1", "5.2.2", ""])
def test_other_refusals_say_nothing_about_the_address(kept: Suppressions, clock: FakeClock, enhanced: str) -> None:
    for _ in range(5):
        kept.note(GONE, enhanced, "no")
        kept.sync()
        clock.skip(DAY)
    assert kept.find(GONE) is None


def test_an_entry_ends_and_begins_anew(kept: Suppressions, clock: FakeClock) -> None:
    fail(kept, clock, 3)
    clock.skip(KEPT_SECONDS)
    assert kept.find(GONE) is None
    fail(kept, clock, 1)
    assert kept.find(GONE) is None


def test_an_operators_own_stays_until_it_is_removed(kept: Suppressions, clock: FakeClock) -> None:
    kept.add(GONE, "asked not to be written to")
    kept.note(GONE, "2.1.5", "250 ok")
    kept.sync()
    clock.skip(2 * KEPT_SECONDS)
    kept.sync()
    assert kept.find(GONE) is not None
    removed = kept.remove(GONE)
    assert removed is not None
    assert kept.find(GONE) is None
    assert kept.remove(GONE) is None


def test_another_process_sees_it_after_a_round(kept: Suppressions, place: StatePlace, clock: FakeClock) -> None:
    other = place.make(SqliteSuppressions, RedisSuppressions, clock)
    kept.add(GONE, "no")
    other.sync()
    assert other.find(GONE) is not None


def test_only_what_other_servers_said_counts(kept: Suppressions, clock: FakeClock) -> None:
    sink = mail_sink(kept)
    for _ in range(3):
        sink(
            MailEvent(
                "failed", "out", recipients=(GONE,), code=550, enhanced="5.1.1", text="no", remote="mx [192.0.2.1]"
            )
        )
        sink(MailEvent("failed", "out", recipients=("bob@ours.example",), code=550, enhanced="5.1.1", text="no"))
        kept.sync()
        clock.skip(DAY)
    assert kept.find(GONE) is not None
    assert kept.find("bob@ours.example") is None
