"""Greylisting's memory: who waits, for how long, and that nobody waits over an hour."""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailbox_app.policy.state import greylist as module
from mailbox_app.policy.state.greylist import Attempt, Rule, SqliteGreylist
from tests.support.clock import FakeClock

RULE = Rule(300, 35 * 86_400, 3_600, 3, 5)
FIRST = Attempt("192.0.2.0/24", "a@x.example", "x.example", "b@example.org", "192.0.2.1", "no host name")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def greylist(tmp_path: Path, clock: FakeClock) -> Iterator[SqliteGreylist]:
    opened = SqliteGreylist(tmp_path / "state.db", clock)
    yield opened
    opened.close()


def test_the_first_attempt_waits_and_is_told_how_long(greylist: SqliteGreylist) -> None:
    decision = greylist.decide(FIRST, RULE)
    assert (decision.word, decision.wait_seconds, decision.attempts) == ("waits", 300, 1)


def test_early_retries_do_not_reset_the_clock(greylist: SqliteGreylist, clock: FakeClock) -> None:
    for passed in range(0, 300, 10):
        decision = greylist.decide(FIRST, RULE)
        assert (decision.word, decision.wait_seconds) == ("waits", 300 - passed)
        clock.skip(10)
    assert greylist.decide(FIRST, RULE).word == "came_back"


def test_a_sender_that_came_back_is_known_for_weeks_after_its_last_mail(
    greylist: SqliteGreylist, clock: FakeClock
) -> None:
    greylist.decide(FIRST, RULE)
    clock.skip(301)
    greylist.decide(FIRST, RULE)
    for _ in range(5):
        clock.skip(34 * 86_400)
        assert greylist.decide(FIRST, RULE).word == "known"
    clock.skip(36 * 86_400)
    assert greylist.decide(FIRST, RULE).word == "waits"


def test_a_pool_that_tries_from_a_new_place_each_time_passes_at_its_third_spread_attempt(
    greylist: SqliteGreylist, clock: FakeClock
) -> None:
    words = []
    for number in range(4):
        words.append(greylist.decide(replace(FIRST, origin=f"10.0.{number}.0/24"), RULE).word)
        clock.skip(600)
    assert words == ["waits", "waits", "ceiling", "ceiling"]


def test_a_volley_from_many_places_counts_as_one_attempt(greylist: SqliteGreylist, clock: FakeClock) -> None:
    for number in range(20):
        assert greylist.decide(replace(FIRST, origin=f"10.0.{number}.0/24"), RULE).word == "waits"
        clock.skip(10)


def test_a_slow_pool_is_not_made_to_wait_over_the_hour(greylist: SqliteGreylist, clock: FakeClock) -> None:
    assert greylist.decide(FIRST, RULE).word == "waits"
    clock.skip(40 * 60)
    assert greylist.decide(replace(FIRST, origin="10.9.9.0/24"), RULE).word == "ceiling"


@pytest.mark.parametrize(("minutes", "word"), [(10, "waits"), (20, "ceiling"), (30, "ceiling"), (60, "ceiling")])
def test_a_slow_pool_waits_no_longer_than_its_own_first_retry(
    greylist: SqliteGreylist, clock: FakeClock, minutes: int, word: str
) -> None:
    greylist.decide(FIRST, RULE)
    clock.skip(minutes * 60)
    assert greylist.decide(replace(FIRST, origin="10.9.9.0/24"), RULE).word == word


SCHEDULES = [(6, 15, 35, 65), (15, 35, 65, 125), (10, 30, 60, 120), (30, 60, 120), (60, 180), (5, 10, 15, 20, 40, 60)]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("place", ["10.0.%d.0/24", "ptr:pool%d.example"])
@pytest.mark.parametrize("local", ["bounce-%d-7f3a", "prvs=%dab12=info", "b+%d=b=example.org"])
def test_a_pool_that_writes_another_sender_each_time_is_in_within_the_hour(
    greylist: SqliteGreylist, clock: FakeClock, schedule: Sequence[int], place: str, local: str
) -> None:
    assert _waits(greylist, clock, schedule, place, [local % number for number in range(9)]) <= 60


@pytest.mark.parametrize("schedule", [each for each in SCHEDULES if each != (60, 180)])
@pytest.mark.parametrize("place", ["10.0.%d.0/24", "ptr:pool%d.example"])
def test_even_names_without_a_pattern_are_in_within_the_hour_if_they_try_often_enough(
    greylist: SqliteGreylist, clock: FakeClock, schedule: Sequence[int], place: str
) -> None:
    names = ["ann", "ben", "cid", "dan", "eva", "fay", "gus", "hal", "ida"]
    assert _waits(greylist, clock, schedule, place, names) <= 60


def _waits(
    greylist: SqliteGreylist, clock: FakeClock, schedule: Sequence[int], place: str, names: Sequence[str]
) -> int:
    start = clock.epoch_seconds()
    for number, minute in enumerate((0, *schedule)):
        clock.skip(start + minute * 60 - clock.epoch_seconds())
        sender = f"{names[number]}@x.example"
        if greylist.decide(replace(FIRST, origin=place % number, sender=sender), RULE).word != "waits":
            return minute
    raise AssertionError("it never came in")


def test_robots_that_borrow_one_domain_do_not_open_the_door_for_each_other(
    greylist: SqliteGreylist, clock: FakeClock
) -> None:
    names = [f"{one}{other}" for one in ("ann", "ben", "cid", "dan") for other in ("smith", "jones", "brown", "ford")]
    passed, disowned = 0, 0
    for number, name in enumerate(names):
        robot = replace(FIRST, origin=f"10.0.{number}.0/24", sender=f"{name}@x.example")
        passed += greylist.decide(robot, RULE).word != "waits"
        forged = replace(robot, recipient="c@example.org", is_disowned=True)
        disowned += greylist.decide(forged, RULE).word != "waits"
        clock.skip(900)
    assert passed <= len(names) / 3
    assert disowned == 0


def test_another_letter_of_the_same_domain_from_another_network_waits(
    greylist: SqliteGreylist, clock: FakeClock
) -> None:
    greylist.decide(FIRST, RULE)
    clock.skip(7_200)
    other = replace(FIRST, origin="198.51.100.0/24", sender="other@x.example")
    assert greylist.decide(other, RULE).word == "waits"


def test_a_network_that_came_back_often_enough_passes_for_everybody(greylist: SqliteGreylist, clock: FakeClock) -> None:
    for number in range(RULE.network_passes):
        attempt = replace(FIRST, sender=f"{number}@y.example", recipient=f"{number}@example.org")
        assert greylist.decide(attempt, RULE).word == "waits"
        clock.skip(301)
        assert greylist.decide(attempt, RULE).word == "came_back"
    stranger = replace(FIRST, sender="new@z.example", sender_key="z.example", recipient="new@example.org")
    assert greylist.decide(stranger, RULE).word == "network_known"
    assert greylist.decide(replace(stranger, origin="192.0.3.0/24"), RULE).word == "waits"
    assert greylist.decide(stranger, replace(RULE, network_passes=0)).word == "waits"


def test_whoever_does_not_come_back_for_days_begins_anew(greylist: SqliteGreylist, clock: FakeClock) -> None:
    greylist.decide(FIRST, RULE)
    clock.skip(module.WAITING_SECONDS + 1)
    assert greylist.decide(FIRST, RULE).word == "waits"


def test_who_waits_is_listed_with_the_reason_and_let_in_on_request(greylist: SqliteGreylist, clock: FakeClock) -> None:
    greylist.decide(FIRST, RULE)
    clock.skip(20)
    greylist.decide(FIRST, RULE)
    rows, total = greylist.waiting(10, 0)
    assert total == 1
    row = rows[0]
    assert (row.sender, row.recipient, row.reason, row.attempts) == (FIRST.sender, FIRST.recipient, FIRST.reason, 2)
    assert row.last_at_seconds - row.first_at_seconds == 20
    assert greylist.let_in(row.greylist_id) == row
    assert greylist.decide(FIRST, RULE).word == "known"
    assert greylist.decide(replace(FIRST, origin="10.0.0.0/24"), RULE).word == "ceiling"
    assert greylist.waiting(10, 0) == ([], 0)
    assert greylist.let_in(999) is None


def test_domains_are_known_by_what_they_proved_and_forgotten(greylist: SqliteGreylist, clock: FakeClock) -> None:
    greylist.proved("x.example", spf=False, dkim=True)
    greylist.proved("y.example", spf=True, dkim=False)
    assert greylist.domain("x.example", 86_400).dkim_at_seconds == clock.epoch_seconds()
    assert not greylist.domain("x.example", 86_400).spf_at_seconds
    assert greylist.domain("y.example", 86_400).spf_at_seconds
    clock.skip(86_401)
    assert not greylist.domain("x.example", 86_400).dkim_at_seconds


def test_it_survives_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    before = SqliteGreylist(tmp_path / "state.db", clock)
    before.decide(FIRST, RULE)
    before.close()
    clock.skip(301)
    after = SqliteGreylist(tmp_path / "state.db", clock)
    assert after.decide(FIRST, RULE).word == "came_back"
    after.close()


def test_old_rows_go_and_tables_stay_bounded(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 50)
    greylist = SqliteGreylist(tmp_path / "state.db", clock)
    for number in range(200):
        greylist.decide(replace(FIRST, recipient=f"{number}@example.org"), RULE)
        clock.skip(60)
    assert greylist.waiting(1, 0)[1] <= 50 + 900 / 60
    clock.skip(36 * 86_400)
    greylist.decide(FIRST, RULE)
    greylist.close()
    with sqlite3.connect(tmp_path / "state.db") as connection:
        for table, count in (("greylist", 1), ("greylist_letters", 2)):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == count


def test_a_broken_file_lets_everybody_pass(greylist: SqliteGreylist, tmp_path: Path) -> None:
    greylist.close()
    assert greylist.decide(FIRST, RULE).word == "error"
    assert not greylist.domain("x.example", 86_400).spf_at_seconds


def test_a_file_that_another_process_holds_lets_everybody_pass(greylist: SqliteGreylist, tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert greylist.decide(FIRST, RULE).word == "error"
    holder.execute("ROLLBACK")
    holder.close()
    assert greylist.decide(FIRST, RULE).word == "waits"


def test_a_clock_that_goes_back_makes_nobody_wait_longer(greylist: SqliteGreylist, clock: FakeClock) -> None:
    greylist.decide(FIRST, RULE)
    clock.skip(-86_400)
    assert greylist.decide(FIRST, RULE).wait_seconds == 300
    clock.skip(301)
    assert greylist.decide(FIRST, RULE).word == "came_back"


def _knock(path: str, ready: object, results: object) -> None:
    greylist = SqliteGreylist(path, FakeClock())
    ready.wait()  # type: ignore[attr-defined]
    words = [greylist.decide(replace(FIRST, recipient=f"{number}@example.org"), RULE).word for number in range(100)]
    greylist.close()
    results.put(words)  # type: ignore[attr-defined]


def test_two_processes_share_one_truth(tmp_path: Path, greylist: SqliteGreylist, clock: FakeClock) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready, results = spawn.Barrier(2), spawn.Queue()
    workers = [spawn.Process(target=_knock, args=(str(tmp_path / "state.db"), ready, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for _ in workers:
        assert results.get(timeout=60) == ["waits"] * 100
    for worker in workers:
        worker.join(60)
    rows, total = greylist.waiting(200, 0)
    assert total == 100
    assert {row.attempts for row in rows} == {2}
    clock.skip(301)
    assert greylist.decide(replace(FIRST, recipient="7@example.org"), RULE).word == "came_back"


HISTORIES = st.lists(
    st.tuples(
        st.integers(1, 3_600).flatmap(lambda bound: st.integers(1, bound)),  # seconds since the attempt before
        st.integers(0, 5),  # from which network of the pool
        st.booleans(),  # the server starts again before
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(HISTORIES)
def test_no_retry_history_waits_over_the_ceiling_or_under_the_delay(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[int, int, bool]]
) -> None:
    path = tmp_path_factory.mktemp("greylist") / "state.db"
    clock = FakeClock()
    greylist = SqliteGreylist(path, clock)
    assert greylist.decide(FIRST, RULE).word == "waits"
    first_at = clock.epoch_seconds()
    first_of, passed = {0: first_at}, set[int]()
    for gap, network, restarts in history:
        clock.skip(gap)
        if restarts:
            greylist.close()
            greylist = SqliteGreylist(path, clock)
        now = clock.epoch_seconds()
        origin = FIRST.origin if network == 0 else f"10.0.{network}.0/24"
        waits = greylist.decide(replace(FIRST, origin=origin), RULE).word == "waits"
        assert not (waits and now - first_at >= RULE.ceiling_seconds)
        assert not (waits and now - first_of.setdefault(network, now) >= RULE.min_delay_seconds)
        assert not (waits and network in passed)
        assert waits or now - first_at >= RULE.min_delay_seconds, "a robot that only hurries must wait"
        if not waits:
            passed.add(network)
    greylist.close()


def test_a_flood_of_strangers_does_not_push_out_whom_we_know(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 100)
    monkeypatch.setattr(module, "_CLEAN_AFTER_ROWS", 10)
    greylist = SqliteGreylist(tmp_path / "state.db", clock)
    greylist.decide(FIRST, RULE)
    clock.skip(301)
    assert greylist.decide(FIRST, RULE).word == "came_back"
    for number in range(500):
        clock.skip(1)
        stranger = f"x{number}.example"
        attempt = replace(FIRST, origin=f"192.0.{number}.0/24", sender=f"a@{stranger}", sender_key=stranger)
        greylist.decide(attempt, RULE)
    assert greylist.decide(FIRST, RULE).word == "known"
    greylist.close()
