"""Greylisting's memory: who waits, for how long, and that nobody waits over an hour."""

from __future__ import annotations

import multiprocessing
import random
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailbox_app.config.schema import Queue
from mailbox_app.db.redis import RedisLink
from mailbox_app.db.state_schema import open_state
from mailbox_app.policy.state import greylist as module
from mailbox_app.policy.state.greylist import Attempt, Greylist, Rule, SqliteGreylist, Waiting
from mailbox_app.policy.state.shared.greylist import RedisGreylist
from tests.support.clock import FakeClock
from tests.support.redis import RedisServer
from tests.support.state_place import StatePlace

RULE = Rule(300, 35 * 86_400, 3_600, 3, 5)
FIRST = Attempt("192.0.2.0/24", "a@x.example", "x.example", "b@example.org", "192.0.2.1", "no host name")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def opened(place: StatePlace, clock: FakeClock) -> Greylist:
    return place.make(SqliteGreylist, RedisGreylist, clock)


@pytest.fixture
def greylist(place: StatePlace, clock: FakeClock) -> Greylist:
    return opened(place, clock)


def test_the_first_attempt_waits_and_is_told_how_long(greylist: Greylist) -> None:
    decision = greylist.decide(FIRST, RULE)
    assert (decision.word, decision.wait_seconds, decision.attempts) == ("waits", 300, 1)


def test_early_retries_do_not_reset_the_clock(greylist: Greylist, clock: FakeClock) -> None:
    for passed in range(0, 300, 10):
        decision = greylist.decide(FIRST, RULE)
        assert (decision.word, decision.wait_seconds) == ("waits", 300 - passed)
        clock.skip(10)
    assert greylist.decide(FIRST, RULE).word == "came_back"


def test_a_sender_that_came_back_is_known_for_weeks_after_its_last_mail(greylist: Greylist, clock: FakeClock) -> None:
    greylist.decide(FIRST, RULE)
    clock.skip(301)
    greylist.decide(FIRST, RULE)
    for _ in range(5):
        clock.skip(34 * 86_400)
        assert greylist.decide(FIRST, RULE).word == "known"
    clock.skip(36 * 86_400)
    assert greylist.decide(FIRST, RULE).word == "waits"


def test_a_pool_that_tries_from_a_new_place_each_time_passes_at_its_third_spread_attempt(
    greylist: Greylist, clock: FakeClock
) -> None:
    words = []
    for number in range(4):
        words.append(greylist.decide(replace(FIRST, origin=f"10.0.{number}.0/24"), RULE).word)
        clock.skip(600)
    assert words == ["waits", "waits", "ceiling", "ceiling"]


def test_a_volley_from_many_places_counts_as_one_attempt(greylist: Greylist, clock: FakeClock) -> None:
    for number in range(20):
        assert greylist.decide(replace(FIRST, origin=f"10.0.{number}.0/24"), RULE).word == "waits"
        clock.skip(10)


def test_a_slow_pool_is_not_made_to_wait_over_the_hour(greylist: Greylist, clock: FakeClock) -> None:
    assert greylist.decide(FIRST, RULE).word == "waits"
    clock.skip(40 * 60)
    assert greylist.decide(replace(FIRST, origin="10.9.9.0/24"), RULE).word == "ceiling"


@pytest.mark.parametrize(("minutes", "word"), [(10, "waits"), (20, "ceiling"), (30, "ceiling"), (60, "ceiling")])
def test_a_slow_pool_waits_no_longer_than_its_own_first_retry(
    greylist: Greylist, clock: FakeClock, minutes: int, word: str
) -> None:
    greylist.decide(FIRST, RULE)
    clock.skip(minutes * 60)
    assert greylist.decide(replace(FIRST, origin="10.9.9.0/24"), RULE).word == word


SCHEDULES = [(6, 15, 35, 65), (15, 35, 65, 125), (10, 30, 60, 120), (30, 60, 120), (60, 180), (5, 10, 15, 20, 40, 60)]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("where", ["10.0.%d.0/24", "ptr:pool%d.example"])
@pytest.mark.parametrize("local", ["bounce-%d-7f3a", "prvs=%dab12=info", "b+%d=b=example.org"])
def test_a_pool_that_writes_another_sender_each_time_is_in_within_the_hour(
    greylist: Greylist, clock: FakeClock, schedule: Sequence[int], where: str, local: str
) -> None:
    assert _waits(greylist, clock, schedule, where, [local % number for number in range(9)]) <= 60


@pytest.mark.parametrize("schedule", [each for each in SCHEDULES if each != (60, 180)])
@pytest.mark.parametrize("where", ["10.0.%d.0/24", "ptr:pool%d.example"])
def test_even_names_without_a_pattern_are_in_within_the_hour_if_they_try_often_enough(
    greylist: Greylist, clock: FakeClock, schedule: Sequence[int], where: str
) -> None:
    names = ["ann", "ben", "cid", "dan", "eva", "fay", "gus", "hal", "ida"]
    assert _waits(greylist, clock, schedule, where, names) <= 60


def _waits(greylist: Greylist, clock: FakeClock, schedule: Sequence[int], where: str, names: Sequence[str]) -> int:
    start = clock.epoch_seconds()
    for number, minute in enumerate((0, *schedule)):
        clock.skip(start + minute * 60 - clock.epoch_seconds())
        sender = f"{names[number]}@x.example"
        if greylist.decide(replace(FIRST, origin=where % number, sender=sender), RULE).word != "waits":
            return minute
    raise AssertionError("it never came in")


def test_robots_that_borrow_one_domain_do_not_open_the_door_for_each_other(
    greylist: Greylist, clock: FakeClock
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


def test_another_letter_of_the_same_domain_from_another_network_waits(greylist: Greylist, clock: FakeClock) -> None:
    greylist.decide(FIRST, RULE)
    clock.skip(7_200)
    other = replace(FIRST, origin="198.51.100.0/24", sender="other@x.example")
    assert greylist.decide(other, RULE).word == "waits"


def test_a_network_that_came_back_often_enough_passes_for_everybody(greylist: Greylist, clock: FakeClock) -> None:
    for number in range(RULE.network_passes):
        attempt = replace(FIRST, sender=f"{number}@y.example", recipient=f"{number}@example.org")
        assert greylist.decide(attempt, RULE).word == "waits"
        clock.skip(301)
        assert greylist.decide(attempt, RULE).word == "came_back"
    stranger = replace(FIRST, sender="new@z.example", sender_key="z.example", recipient="new@example.org")
    assert greylist.decide(stranger, RULE).word == "network_known"
    assert greylist.decide(replace(stranger, origin="192.0.3.0/24"), RULE).word == "waits"
    assert greylist.decide(stranger, replace(RULE, network_passes=0)).word == "waits"


def test_whoever_does_not_come_back_for_days_begins_anew(greylist: Greylist, clock: FakeClock) -> None:
    greylist.decide(FIRST, RULE)
    clock.skip(module.WAITING_SECONDS + 1)
    assert greylist.decide(FIRST, RULE).word == "waits"


def test_who_waits_is_listed_with_the_reason_and_let_in_on_request(greylist: Greylist, clock: FakeClock) -> None:
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


def test_domains_are_known_by_what_they_proved_and_forgotten(greylist: Greylist, clock: FakeClock) -> None:
    greylist.proved("x.example", spf=False, dkim=True)
    greylist.proved("y.example", spf=True, dkim=False)
    assert greylist.domain("x.example", 86_400).dkim_at_seconds == clock.epoch_seconds()
    assert not greylist.domain("x.example", 86_400).spf_at_seconds
    assert greylist.domain("y.example", 86_400).spf_at_seconds
    clock.skip(86_401)
    assert not greylist.domain("x.example", 86_400).dkim_at_seconds


def test_it_survives_a_restart(place: StatePlace, clock: FakeClock) -> None:
    before = opened(place, clock)
    before.decide(FIRST, RULE)
    clock.skip(301)
    after = opened(place, clock)
    assert after.decide(FIRST, RULE).word == "came_back"


def test_old_rows_go_and_tables_stay_bounded(
    place: StatePlace, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 50)
    greylist = opened(place, clock)
    for number in range(200):
        greylist.decide(replace(FIRST, recipient=f"{number}@example.org"), RULE)
        clock.skip(60)
    assert greylist.waiting(1, 0)[1] <= 50 + 900 / 60
    clock.skip(36 * 86_400)
    for _ in range(10):  # a piece at a time
        greylist.decide(FIRST, RULE)
    if place.server is not None:
        client = place.server.client()
        for name, rows, count in (("first", "w", 1), ("letters", "l", 2), ("passed", "-", 0)):
            assert client.zcard(f"mailbox:greylist:{name}") == count
            assert len(client.keys(f"mailbox:greylist:{rows}:*")) == count
        assert all(client.ttl(key) > 0 for key in client.scan_iter() if key != b"mailbox:greylist:number")
        return
    place.close()
    with sqlite3.connect(place.path) as connection:
        for table, count in (("greylist", 1), ("greylist_letters", 2)):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == count


def test_trouble_lets_everybody_pass(greylist: Greylist, place: StatePlace) -> None:
    place.fail()
    assert greylist.decide(FIRST, RULE).word == "error"
    assert not greylist.domain("x.example", 86_400).spf_at_seconds


def test_a_file_that_another_process_holds_lets_everybody_pass(greylist: Greylist, place: StatePlace) -> None:
    if place.is_redis:
        pytest.skip("nobody holds Redis")
    holder = sqlite3.connect(place.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert greylist.decide(FIRST, RULE).word == "error"
    holder.execute("ROLLBACK")
    holder.close()
    assert greylist.decide(FIRST, RULE).word == "waits"


def test_a_clock_that_goes_back_makes_nobody_wait_longer(greylist: Greylist, clock: FakeClock) -> None:
    greylist.decide(FIRST, RULE)
    clock.skip(-86_400)
    assert greylist.decide(FIRST, RULE).wait_seconds == 300
    clock.skip(301)
    assert greylist.decide(FIRST, RULE).word == "came_back"


def _knock(path: str, url: str, ready: object, results: object) -> None:
    clock = FakeClock()
    shared = RedisGreylist(RedisLink(Queue(redis_url=url), clock), clock) if url else None
    greylist = shared or SqliteGreylist(open_state(path), clock)
    ready.wait()  # type: ignore[attr-defined]
    words = [greylist.decide(replace(FIRST, recipient=f"{number}@example.org"), RULE).word for number in range(100)]
    results.put(words)  # type: ignore[attr-defined]


def test_two_processes_share_one_truth(place: StatePlace, greylist: Greylist, clock: FakeClock) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready, results = spawn.Barrier(2), spawn.Queue()
    args = (str(place.path), place.server.url if place.server else "", ready, results)
    workers = [spawn.Process(target=_knock, args=args) for _ in range(2)]
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


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(HISTORIES)
def test_no_retry_history_waits_over_the_ceiling_or_under_the_delay(
    place: StatePlace, history: list[tuple[int, int, bool]]
) -> None:
    clock = FakeClock()
    place.renew()
    greylist = opened(place, clock)
    assert greylist.decide(FIRST, RULE).word == "waits"
    first_at = clock.epoch_seconds()
    first_of, passed = {0: first_at}, set[int]()
    for gap, network, restarts in history:
        clock.skip(gap)
        if restarts:
            place.close()
            greylist = opened(place, clock)
        now = clock.epoch_seconds()
        origin = FIRST.origin if network == 0 else f"10.0.{network}.0/24"
        waits = greylist.decide(replace(FIRST, origin=origin), RULE).word == "waits"
        assert not (waits and now - first_at >= RULE.ceiling_seconds)
        assert not (waits and now - first_of.setdefault(network, now) >= RULE.min_delay_seconds)
        assert not (waits and network in passed)
        assert waits or now - first_at >= RULE.min_delay_seconds, "a robot that only hurries must wait"
        if not waits:
            passed.add(network)


def test_a_flood_of_strangers_does_not_push_out_whom_we_know(
    place: StatePlace, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 100)
    monkeypatch.setattr(module, "_CLEAN_AFTER_ROWS", 10)
    greylist = opened(place, clock)
    greylist.decide(FIRST, RULE)
    clock.skip(301)
    assert greylist.decide(FIRST, RULE).word == "came_back"
    for number in range(500):
        clock.skip(1)
        stranger = f"x{number}.example"
        attempt = replace(FIRST, origin=f"192.0.{number}.0/24", sender=f"a@{stranger}", sender_key=stranger)
        greylist.decide(attempt, RULE)
    assert greylist.decide(FIRST, RULE).word == "known"


def test_both_memories_decide_alike(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis").start()
    sqlite, redis = StatePlace(tmp_path, None), StatePlace(tmp_path, server)
    clock, chance = FakeClock(), random.Random(5)
    try:
        memories = [opened(each, clock) for each in (sqlite, redis)]
        for _ in range(1_500):
            clock.skip(chance.choice([1, 20, 310, 900, 4_000]))
            number = chance.randrange(4)
            sender = chance.choice(["", "news-17@x.example", "news-18@x.example", "a@y.example"])
            attempt = Attempt(
                chance.choice(["spf:x.example", "ptr:y.example", f"10.0.{number}.0/24", f"10.1.{number}.0/24"]),
                sender,
                sender.rpartition("@")[2] or "<> mx.x.example",
                f"{chance.randrange(3)}@example.org",
                f"10.0.{number}.1",
                "no host name",
                is_disowned=chance.random() < 0.2,
            )
            rule = chance.choice([RULE, replace(RULE, network_passes=0), replace(RULE, min_delay_seconds=30)])
            first, second = (each.decide(attempt, rule) for each in memories)
            assert first == second
            if chance.random() < 0.02 and (rows := memories[0].waiting(1, 0)[0]):
                other = next(row for row in memories[1].waiting(100, 0)[0] if shown(row) == shown(rows[0]))
                found = memories[1].let_in(other.greylist_id)
                assert memories[0].let_in(rows[0].greylist_id) is not None
                assert found == other
        assert sorted(map(shown, memories[0].waiting(100, 0)[0])) == sorted(map(shown, memories[1].waiting(100, 0)[0]))
        assert memories[0].waiting(100, 0, "X.EXAMPLE")[1] == memories[1].waiting(100, 0, "X.EXAMPLE")[1]
    finally:
        sqlite.close()
        redis.close()
        server.destroy()


def shown(row: Waiting) -> tuple[object, ...]:
    return row.origin, row.sender, row.recipient, row.first_at_seconds, row.last_at_seconds, row.attempts
