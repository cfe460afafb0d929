"""How fast destinations get their mail: bounds, complaints, volumes of a new address."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from mailbox_app.config.pacing import Destination
from mailbox_app.config.schema import Delivery
from mailbox_app.mailqueue.destinations.pace import Pace, Wait, is_complaint
from mailbox_app.mailqueue.destinations.warm_up import WarmUpPlan
from mailbox_app.mailqueue.model import Priority
from tests.support.clock import FakeClock

PERSON, BULK, REPORT = Priority.PERSON, Priority.BULK, Priority.REPORT
TOO_MANY = (421, "4.7.0", "too many connections from your address")


class Counts:
    """Within fixed windows."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._counts: Counter[tuple[str, int]] = Counter()

    def count(self, key: str, window_seconds: int, amount: int = 1) -> int:
        slot = (key, int(self._clock.epoch_seconds() // window_seconds))
        self._counts[slot] += amount
        return self._counts[slot]

    def sync(self) -> None:
        pass


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def make(clock: FakeClock, plan: WarmUpPlan | None = None, **destinations: Destination) -> Pace:
    named = {name.replace("_", "."): each for name, each in destinations.items()}
    config = Delivery(destinations=named)
    return Pace(lambda: config, Counts(clock), clock, plan or WarmUpPlan())


def let_in(pace: Pace, count: int, priority: Priority = PERSON, destination: str = "there.example") -> int:
    """How many of them may go."""
    return sum(pace.admit(destination, "provider.example", priority) is None for _ in range(count))


def test_without_settings_and_complaints_everybody_may_go(clock: FakeClock) -> None:
    pace = make(clock)
    assert let_in(pace, 500) == 500
    assert pace.claim_counts({"there.example": 3}) == {"there.example": 3}


def test_a_rate_holds_for_a_destination_and_for_all_domains_of_a_provider(clock: FakeClock) -> None:
    pace = make(clock, there_example=Destination(per_minute=3), provider_example=Destination(per_minute=5))
    assert let_in(pace, 10) == 3
    assert let_in(pace, 10, destination="other.example") == 2
    wait = pace.admit("other.example", "provider.example", PERSON)
    assert isinstance(wait, Wait)
    assert wait.sentence == "provider.example gets 5 messages in a minute, as configured"
    assert (wait.gap_seconds, wait.until > clock.now()) == (12.0, True)
    clock.skip(60)
    assert let_in(pace, 10) == 3


def test_bulk_mail_leaves_a_fifth_of_a_rate_to_persons(clock: FakeClock) -> None:
    pace = make(clock, there_example=Destination(per_minute=10))
    assert let_in(pace, 20, BULK) == 8
    assert let_in(pace, 20, PERSON) == 2


def test_a_claim_sees_a_destinations_own_connections(clock: FakeClock) -> None:
    pace = make(clock, few_example=Destination(connections=2), many_example=Destination(connections=20))
    counts = pace.claim_counts({"few.example": 1, "many.example": 15, "usual.example": 4})
    # a claim takes until a count is 5
    assert counts == {"few.example": 4, "many.example": 0, "usual.example": 4}


def test_a_complaint_halves_the_connections_which_come_back_one_by_one(clock: FakeClock) -> None:
    pace = make(clock)
    assert let_in(pace, 4) == 4
    pace.heard("provider.example", *TOO_MANY)
    pace.heard("provider.example", *TOO_MANY)  # of the same burst
    assert pace.claim_counts({"there.example": 4})["there.example"] >= 5
    wait = pace.admit("there.example", "provider.example", PERSON)
    assert isinstance(wait, Wait)
    assert (
        wait.sentence == 'provider.example said "too many connections from your address", so it gets 2 at once for now'
    )
    for _ in range(4):
        pace.ended("provider.example")
    assert let_in(pace, 5) == 2
    clock.skip(240)
    assert let_in(pace, 5) == 2
    clock.skip(1200)
    assert let_in(pace, 50) == 50
    assert pace.claim_counts({}) == {}


def test_a_complaint_about_a_single_connection_brings_a_minute_of_silence(clock: FakeClock) -> None:
    pace = make(clock)
    assert let_in(pace, 1) == 1
    pace.heard("provider.example", *TOO_MANY)
    pace.ended("provider.example")
    assert let_in(pace, 1) == 0
    clock.skip(60)
    assert let_in(pace, 5) == 1


@pytest.mark.parametrize(
    ("code", "enhanced", "text", "wanted"),
    [
        (421, "4.7.0", "Too many concurrent SMTP connections", True),
        (421, "4.7.28", "unusual rate of unsolicited mail", True),
        (450, "4.7.1", "client exceeded the maximum message rate, slow down", True),
        (421, "4.3.2", "system busy", True),
        (421, "4.3.2", "Service shutting down and closing the channel", False),
        (450, "4.7.1", "greylisted, too many attempts", False),
        (451, "4.7.0", "temporary local problem", False),
        (452, "4.5.3", "too many recipients", False),
        (452, "4.2.2", "mailbox exceeded its limit of connections", False),
        (550, "5.7.1", "too many connections", False),
    ],
)
def test_what_is_a_complaint_about_the_pace(code: int, enhanced: str, text: str, wanted: bool) -> None:
    assert is_complaint(code, enhanced, text) is wanted


def test_a_new_address_sends_growing_volumes_persons_before_bulk(clock: FakeClock) -> None:
    plan = WarmUpPlan(datetime(2026, 1, 5, tzinfo=UTC), (50, 100))
    pace = make(clock, plan)
    assert let_in(pace, 60, BULK) == 40
    assert let_in(pace, 60, PERSON) == 10
    wait = pace.admit("there.example", "provider.example", PERSON)
    assert isinstance(wait, Wait)
    assert wait.sentence == "this server's address is new, so provider.example gets 50 messages today (warm-up)"
    assert let_in(pace, 3, REPORT) == 3
    clock.skip(86_400)
    assert let_in(pace, 150) == 100
    clock.skip(86_400)
    assert let_in(pace, 500) == 500


def test_a_warm_up_begins_on_its_day_and_ends_by_itself() -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    plan = WarmUpPlan(start, (50, 100))
    days = [plan.volume(start + timedelta(days=day)) for day in (-1, 0, 1, 2)]
    assert days == [0, 50, 100, 0]
    assert plan.ends_at() == start + timedelta(days=2)
    assert WarmUpPlan().volume(start) == 0
