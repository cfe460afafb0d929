"""A small pretend week against the real queue, runner and transport: every promise about mail out holds, on both backends.

And each check finds the fault it is there for: a week that was tampered with does not pass.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.redis import PROGRAM

HERE = Path(__file__).resolve().parents[2] / "scripts" / "pretend_week"
FULL = ("a full mailbox, 0", "full0@full.example")


@pytest.fixture(scope="module")
def week() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(HERE))
        yield importlib.import_module("week")


@pytest.fixture(scope="module")
def observed(week: Any) -> Any:
    return week.run(week.SMALL)


def faults(week: Any, observed: Any) -> dict[str, Sequence[str]]:
    checked = [promise for promise in week.PROMISES if promise.holds_for(observed)]
    return {promise.text: found for promise in checked if (found := promise.check(observed))}


@pytest.mark.slow
def test_every_promise_holds_with_the_queue_on_this_machine(week: Any, observed: Any) -> None:
    assert faults(week, observed) == {}
    assert len(week.PROMISES) == 31


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="redis-server is not installed")
def test_every_promise_holds_with_the_queue_in_redis(week: Any) -> None:
    with week.redis_of_its_own() as url:
        assert faults(week, week.run(week.SMALL, url)) == {}


@pytest.mark.slow
def test_a_server_that_is_stopped_now_and_then_loses_and_repeats_nothing_and_knows_what_is_open(week: Any) -> None:
    restless = week.run(replace(week.SMALL, restarts=12, seed=2))
    assert len(restless.away) == 12
    assert faults(week, restless) == {}


def test_it_is_told_in_words(week: Any, observed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    week.tell(observed, everything=False)
    told = capsys.readouterr().out
    for line in (
        "    ann@null.example     00:00:00  failed 556 the domain null.example does not accept mail",
        "held by a rule, ann@held.example: held, 0 tries, next at 00:04:20: under discussion",
        "delivery was given up after 15 tries",
        "  delayed  to alice@example.org: its host is passed over all week, patient@crowd.example",
    ):
        assert line in told
    assert "half-open" in told.partition("\nBreakers")[2].partition("\nReports")[0]


def without_a_report(observed: Any) -> Any:
    return replace(observed, reports=[each for each in observed.reports if each.letter != "silent for ever"])


def with_every_report_twice(observed: Any) -> Any:
    return replace(observed, reports=[*observed.reports, *observed.reports])


def with_a_try_too_soon(observed: Any) -> Any:
    first, second, *rest = observed.tries[FULL]
    return replace(observed, tries={**observed.tries, FULL: [first, replace(second, at=second.at - 60), *rest]})


def without_the_last_try(observed: Any) -> Any:
    key = ("its host is passed over all week", "patient@crowd.example")
    return replace(observed, tries={**observed.tries, FULL: observed.tries[FULL][:-1], key: observed.tries[key][:-2]})


def with_a_recipient_gone(observed: Any) -> Any:
    return replace(observed, ended={key: end for key, end in observed.ended.items() if key != FULL})


def with_a_breaker_that_opens_late(observed: Any) -> Any:
    return replace(observed, knocks={domain: [0.0, *knocks] for domain, knocks in observed.knocks.items()})


def with_a_connection_too_many(observed: Any) -> Any:
    times = [each.at for each in observed.changes if each.host == "mx.dead.example:25"]
    dead = sorted([*observed.knocks["dead.example"], (times[0] + times[1]) / 2, *(at + 0.01 for at in times)])
    return replace(observed, knocks={**observed.knocks, "dead.example": dead})


def with_a_breaker_for_a_full_mailbox(observed: Any) -> Any:
    change = replace(observed.changes[0], host="mx.full.example:25")
    return replace(observed, changes=[*observed.changes, change])


def with_a_history_for_ever(observed: Any) -> Any:
    return replace(observed, remembered=[(days, True) for days, _ in observed.remembered])


def with_the_people_last(observed: Any) -> Any:
    late = max(at for at, _, _ in observed.sent)
    sent = [(late + 60 if "beside" in name else at, name, address) for at, name, address in observed.sent]
    return replace(observed, sent=sent)


@pytest.mark.parametrize(
    ("tampered", "noticed"),
    [
        (without_a_report, ["Each failure is reported", "What waits for four hours"]),
        (with_every_report_twice, ["Each failure is reported", "What waits for four hours", "NOTIFY=SUCCESS"]),
        (with_a_try_too_soon, ["Tries come after", "A breaker or a pace makes a wait longer"]),
        (without_the_last_try, ["Tries come after", "Mail whose breaker is open all week"]),
        (with_a_recipient_gone, ["Nothing is lost"]),
        (with_a_breaker_that_opens_late, ["Five failed connections"]),
        (with_a_connection_too_many, ["It stays open", "One message at a time"]),
        (with_a_breaker_for_a_full_mailbox, ["Answers about recipients"]),
        (with_a_history_for_ever, ["What has left is known"]),
        (with_the_people_last, ["A person's mail does not wait"]),
    ],
)
def test_a_broken_promise_is_noticed(
    week: Any, observed: Any, tampered: Callable[[Any], Any], noticed: Sequence[str]
) -> None:
    found = faults(week, tampered(observed))
    for beginning in noticed:
        assert any(text.startswith(beginning) for text in found), (beginning, found)
