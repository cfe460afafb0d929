from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mailbox_app.journal import explanations as module
from mailbox_app.journal.decisions import Decisions
from mailbox_app.journal.explanations import Copy, Explanation, ExplanationFilter, Said
from tests.support.clock import FakeClock

DAY = timedelta(days=1)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def decisions(tmp_path: Path, clock: FakeClock) -> Iterator[Decisions]:
    made = Decisions(tmp_path / "journal.db", clock)
    yield made
    made.close()


def explanation(clock: FakeClock, **fields: object) -> Explanation:
    known: dict[str, object] = {
        "at_millis": int(clock.epoch_seconds() * 1000),
        "outcome": "junk",
        "trace_id": "T1",
        "session_id": "S1",
        "remote": "192.0.2.7",
        "sender": "Anna@Elsewhere.net",
        "recipients": ["bob@example.org", "carol@example.org"],
        "message_id": "<1@elsewhere.net>",
        "findings": [Said("bayes", "looks like junk", 4.5, "accept", "bob@example.org", inputs={"tokens": 12})],
        "copies": [Copy("bob@example.org", "stored", "Junk", "junk: score 5.5 of 5", ["line 1: keep"])],
        "queue_ids": ["Q1"],
        **fields,
    }
    return Explanation(**known)  # type: ignore[arg-type]


def found(decisions: Decisions, *words: str, **fields: object) -> list[str]:
    decisions.flush()
    return [each.trace_id for _, each in decisions.explanations(ExplanationFilter(words, **fields), 100)]  # type: ignore[arg-type]


def test_a_record_comes_back_as_it_was(decisions: Decisions, clock: FakeClock) -> None:
    decisions.explain(explanation(clock))
    decisions.flush()
    ((_, record),) = decisions.explanations(ExplanationFilter(), 10)
    assert record == explanation(clock)
    assert record.at == clock.now()


@pytest.mark.parametrize(
    "word",
    ["T1", "t1", "S1", "Q1", "192.0.2.7", "anna@elsewhere.net", "ANNA@ELSEWHERE.NET", "@elsewhere.net", "carol@example.org",
     "@example.org", "<1@elsewhere.net>"],
)  # fmt: skip
def test_a_record_is_found_by_everything_that_names_it(decisions: Decisions, clock: FakeClock, word: str) -> None:
    decisions.explain(explanation(clock))
    decisions.explain(
        Explanation(int(clock.epoch_seconds() * 1000), "accepted", trace_id="other", sender="x@nowhere.example")
    )
    assert found(decisions, word) == ["T1"]


def test_all_conditions_hold_together(decisions: Decisions, clock: FakeClock) -> None:
    start = clock.now()
    for number in range(6):
        outcome = "refused" if number % 2 else "accepted"
        decisions.explain(explanation(clock, trace_id=f"T{number}", outcome=outcome, sender=f"s{number % 3}@x.example"))
        clock.skip(3600)
    assert found(decisions) == ["T5", "T4", "T3", "T2", "T1", "T0"]
    assert found(decisions, "s1@x.example") == ["T4", "T1"]
    assert found(decisions, "s1@x.example", outcome="refused") == ["T1"]
    assert found(decisions, "s1@x.example", "bob@example.org", "T4") == ["T4"]
    assert found(decisions, since_at=start + timedelta(hours=2), until_at=start + timedelta(hours=4)) == ["T3", "T2"]
    assert found(decisions, "bob@example.org", since_at=start + timedelta(hours=4)) == ["T5", "T4"]
    assert found(decisions, outcome="refused") == ["T5", "T3", "T1"]
    assert found(decisions, "nobody@x.example") == []


def test_pages_follow_each_other_without_gap_or_repeat(decisions: Decisions, clock: FakeClock) -> None:
    for number in range(25):
        decisions.explain(explanation(clock, trace_id=f"T{number}"))
        clock.skip(7 * 3600)  # over several days
    decisions.flush()
    for words in ((), ("bob@example.org",)):
        seen: list[str] = []
        before = None
        while page := decisions.explanations(ExplanationFilter(words, before_no=before), 10):
            seen += [record.trace_id for _, record in page]
            before = page[-1][0]
        assert seen == [f"T{number}" for number in reversed(range(25))]


def test_old_records_are_forgotten_with_their_keys(decisions: Decisions, clock: FakeClock) -> None:
    for number in range(40):
        decisions.explain(explanation(clock, trace_id=f"T{number}"))
        clock.skip(DAY.total_seconds())
    decisions.flush()
    assert decisions.prune(clock.now() - 30 * DAY) == 10
    assert len(found(decisions, "bob@example.org")) == 30
    with decisions._database.reading() as connection:
        oldest_day = connection.execute("SELECT min(day) FROM explanation_keys").fetchone()[0]
    assert oldest_day >= (clock.now() - 31 * DAY).timestamp() // 86_400


def test_words_with_one_digest_are_told_apart(
    decisions: Decisions, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_digest", lambda word: len(word) % 2)
    for number in range(20):
        decisions.explain(explanation(clock, trace_id=f"T{number}", sender=f"{'a' * number}@x.example"))
    assert found(decisions, "aaa@x.example") == ["T3"]


def test_a_message_with_very_many_recipients_has_bounded_keys(decisions: Decisions, clock: FakeClock) -> None:
    decisions.explain(explanation(clock, recipients=[f"r{number}@x.example" for number in range(10_000)], copies=[]))
    assert found(decisions, "r7@x.example", outcome="junk") == ["T1"]
    with decisions._database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM explanation_keys").fetchone()[0] <= 501


def test_a_search_agrees_with_looking_at_every_record(decisions: Decisions, clock: FakeClock) -> None:
    dice = random.Random(5)
    records = []
    for number in range(200):
        record = explanation(
            clock,
            trace_id=f"T{number}",
            sender=f"s{dice.randrange(8)}@d{dice.randrange(3)}.example",
            remote=f"192.0.2.{dice.randrange(5)}",
            outcome=dice.choice(["accepted", "refused"]),
        )
        records.append(record)
        decisions.explain(record)
        clock.skip(dice.randrange(20_000))
    for _ in range(50):
        words = [dice.choice(dice.choice(records).words()) for _ in range(dice.randrange(1, 3))]
        wanted = [each.trace_id for each in reversed(records) if {word.lower() for word in words} <= set(each.words())]
        assert found(decisions, *words) == wanted[:100]


def test_pages_without_words_go_back_by_number_and_are_counted(decisions: Decisions, clock: FakeClock) -> None:
    for number in range(30):
        decisions.explain(explanation(clock, trace_id=f"T{number}"))
        clock.skip(60)
    decisions.flush()
    seen: list[str] = []
    before: int | None = None
    while page := decisions.explanations(ExplanationFilter(before_no=before), 7):
        seen += [each.trace_id for _, each in page]
        before = page[-1][0]
    assert seen == [f"T{number}" for number in range(29, -1, -1)]
    assert decisions.last_explanation_no() == 30
    assert decisions.count_explanations(ExplanationFilter(before_no=11), 100) == 10
    assert decisions.count_explanations(ExplanationFilter(["bob@example.org"]), 8) == 8
    assert (
        decisions.count_explanations(ExplanationFilter(since_at=clock.now() - timedelta(minutes=5, seconds=1)), 100)
        == 5
    )
