"""To whom our accounts wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.ids import AccountId
from mailbox_app.policy.state import correspondents as module
from mailbox_app.policy.state.correspondents import SqliteCorrespondents
from tests.support.clock import FakeClock

ALICE, BOB = AccountId(1), AccountId(2)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def known(tmp_path: Path, clock: FakeClock) -> Iterator[SqliteCorrespondents]:
    opened = SqliteCorrespondents(tmp_path / "state.db", clock)
    yield opened
    opened.close()


def test_who_was_written_to_is_known_to_that_account_for_half_a_year(
    known: SqliteCorrespondents, clock: FakeClock
) -> None:
    known.wrote(ALICE, ["Friend@far.example", "other@far.example"])
    assert known.knows([BOB, ALICE], "friend@FAR.example")
    assert not known.knows([BOB], "friend@far.example")
    assert not known.knows([], "friend@far.example")
    assert not known.knows([ALICE], "")
    clock.skip(module.KEPT_SECONDS + 1)
    assert not known.knows([ALICE], "friend@far.example")


def test_the_same_people_are_news_once_a_day(known: SqliteCorrespondents, clock: FakeClock) -> None:
    assert known.news(ALICE, ["a@far.example"]) == ["a@far.example"]
    known.wrote(ALICE, ["a@far.example"])
    assert known.news(ALICE, ["A@far.example", "b@far.example"]) == ["b@far.example"]
    clock.skip(86_401)
    assert known.news(ALICE, ["a@far.example"]) == ["a@far.example"]


def test_the_oldest_go_when_there_are_too_many(
    known: SqliteCorrespondents, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 10)
    for number in range(1_000):
        clock.skip(1)
        known.wrote(ALICE, [f"{number}@far.example"])
    assert [known.knows([ALICE], f"{number}@far.example") for number in (0, 989, 990, 999)] == [
        False,
        False,
        True,
        True,
    ]


def test_storage_trouble_is_no_trouble_of_the_mail(known: SqliteCorrespondents) -> None:
    known.close()
    known.wrote(ALICE, ["a@far.example"])
    assert not known.knows([ALICE], "a@far.example")
