"""One host's breaker: the textbook, and what holds whatever happens in which order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.mailqueue.destinations import breaker as machine
from mailbox_app.mailqueue.destinations.breaker import (
    FAILURES_TO_OPEN,
    OPEN_SECONDS,
    PROBE_SECONDS,
    Breaker,
    Condition,
)

HOST = "mx.there.example:25"
START = 1_767_600_000.0


def opened(at: float = START) -> Breaker:
    breaker = Breaker(HOST)
    for _ in range(FAILURES_TO_OPEN):
        breaker = machine.note_failure(breaker, "", at, "refused")
    return breaker


def test_five_failures_in_a_row_open_it_and_a_success_in_between_begins_anew() -> None:
    breaker = Breaker(HOST)
    for _ in range(FAILURES_TO_OPEN - 1):
        breaker = machine.note_failure(breaker, "", START, "refused")
    assert machine.note_success(breaker, "", START) == Breaker(HOST)
    breaker = machine.note_failure(breaker, "", START, "refused")
    assert (breaker.condition, breaker.reason) == (Condition.OPEN, "refused")


def test_d2_an_open_breaker_lets_a_probe_through_after_its_time_and_two_successes_close_it() -> None:
    breaker = opened()
    assert not machine.may_pass(breaker, START + OPEN_SECONDS - 0.1)
    now = START + OPEN_SECONDS
    for number in range(2):
        assert machine.may_pass(breaker, now)
        breaker = machine.start_probe(breaker, f"probe {number}", now)
        assert breaker.condition is Condition.HALF_OPEN
        assert not machine.may_pass(breaker, now)
        breaker = machine.note_success(breaker, f"probe {number}", now)
    assert (breaker.condition, breaker.failures) == (Condition.CLOSED, 0)


def test_a_failed_probe_opens_again_for_five_minutes() -> None:
    breaker, now = opened(), START
    waits = []
    for _ in range(14):
        waits.append(breaker.probe_at_seconds - now)
        now = breaker.probe_at_seconds
        breaker = machine.note_failure(machine.start_probe(breaker, "probe", now), "probe", now, "refused")
    assert waits == [OPEN_SECONDS] * 14
    assert breaker.opened_seconds == START


def test_results_of_those_let_in_earlier_do_not_move_a_half_open_breaker() -> None:
    now = START + OPEN_SECONDS
    breaker = machine.start_probe(opened(), "probe", now)
    for token in ("", "another"):
        assert machine.note_failure(breaker, token, now, "late") == breaker
        assert machine.note_success(breaker, token, now) == breaker
        assert machine.give_back(breaker, token) == breaker


def test_a_success_while_it_is_open_makes_the_probe_due_at_once() -> None:
    breaker = machine.note_success(opened(), "", START + 1)
    assert breaker.condition is Condition.OPEN
    assert machine.may_pass(breaker, START + 1)


def test_a_probe_without_a_verdict_is_given_back_and_one_that_is_never_heard_of_runs_out() -> None:
    now = START + OPEN_SECONDS
    breaker = machine.start_probe(opened(), "probe", now)
    assert machine.may_pass(machine.give_back(breaker, "probe"), now)
    assert not machine.may_pass(breaker, now + PROBE_SECONDS - 1)
    assert machine.may_pass(breaker, now + PROBE_SECONDS)


def test_a_clock_turned_back_does_not_keep_a_host_away() -> None:
    assert machine.may_pass(opened(START + 86_400), START)
    probing = machine.start_probe(opened(START + 86_400), "probe", START + 86_400 + OPEN_SECONDS)
    assert machine.may_pass(probing, START)


def test_an_operators_probe_is_due_at_once() -> None:
    assert machine.may_pass(machine.probe_now(opened(), START + 1), START + 1)


STEPS = st.lists(st.tuples(st.sampled_from(["enter", "fail", "succeed", "leave", "operator"]), st.integers(0, 5)))


class World:
    """Deliveries that come, go and report in any order, to a breaker and to a list of who probes."""

    def __init__(self) -> None:
        self.breaker = Breaker(HOST)
        self.now = START
        self.inside: list[str] = []
        """Tokens of those let in; "" for those let in while it was closed."""
        self._count = 0

    def enter(self) -> None:
        if not machine.may_pass(self.breaker, self.now):
            return
        if self.breaker.condition is Condition.CLOSED:
            self.inside.append("")
            return
        self._count += 1
        token = f"probe {self._count}"
        self.breaker = machine.start_probe(self.breaker, token, self.now)
        assert self.breaker.probe == token
        self.inside.append(token)

    def step(self, what: str, number: int) -> None:
        if what == "enter":
            self.enter()
        elif what == "operator":
            self.breaker = machine.probe_now(self.breaker, self.now)
        elif self.inside:
            token = self.inside.pop(number % len(self.inside))
            if what == "fail":
                self.breaker = machine.note_failure(self.breaker, token, self.now, "refused")
            elif what == "succeed":
                self.breaker = machine.note_success(self.breaker, token, self.now)
            else:
                self.breaker = machine.give_back(self.breaker, token)


@given(STEPS, st.lists(st.sampled_from([0.0, 1.0, 100.0, 300.0]), min_size=1))
def test_there_is_never_more_than_one_probe(steps: list[tuple[str, int]], pauses: list[float]) -> None:
    world = World()
    for place, (what, number) in enumerate(steps):
        world.step(what, number)
        probing = [token for token in world.inside if token]
        assert len(probing) <= 1
        world.now += min(pauses[place % len(pauses)], 0.0 if probing else 300.0)


@given(STEPS)
def test_it_is_closed_again_whatever_happened_when_the_host_is_well(steps: list[tuple[str, int]]) -> None:
    world = World()
    for what, number in steps:
        world.step(what, number)
        world.now += 60.0
    world.inside.clear()  # those under way are never heard of again
    for _ in range(4):
        if world.breaker.condition is Condition.CLOSED:
            break
        world.now = max(world.now, machine.next_try_seconds(world.breaker, world.now))
        world.enter()
        for token in world.inside:
            world.breaker = machine.note_success(world.breaker, token, world.now)
        world.inside.clear()
    assert world.breaker.condition is Condition.CLOSED
