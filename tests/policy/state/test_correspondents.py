"""To whom our accounts wrote."""

from __future__ import annotations

import pytest

from mailbox_app.ids import AccountId
from mailbox_app.policy.state import correspondents as module
from mailbox_app.policy.state.correspondents import Correspondents, SqliteCorrespondents
from mailbox_app.policy.state.shared.correspondents import RedisCorrespondents
from tests.support.clock import FakeClock
from tests.support.state_place import StatePlace

ALICE, BOB = AccountId(1), AccountId(2)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def known(place: StatePlace, clock: FakeClock) -> Correspondents:
    return place.make(SqliteCorrespondents, lambda link, clock: RedisCorrespondents(link, clock, str), clock)


def test_who_was_written_to_is_known_to_that_account_for_half_a_year(known: Correspondents, clock: FakeClock) -> None:
    known.wrote(ALICE, ["Friend@far.example", "other@far.example"])
    assert known.knows([BOB, ALICE], "friend@FAR.example")
    assert not known.knows([BOB], "friend@far.example")
    assert not known.knows([], "friend@far.example")
    assert not known.knows([ALICE], "")
    clock.skip(module.KEPT_SECONDS + 1)
    assert not known.knows([ALICE], "friend@far.example")


def test_the_same_people_are_news_once_a_day(known: Correspondents, clock: FakeClock) -> None:
    assert known.news(ALICE, ["a@far.example"]) == ["a@far.example"]
    known.wrote(ALICE, ["a@far.example"])
    assert known.news(ALICE, ["A@far.example", "b@far.example"]) == ["b@far.example"]
    clock.skip(86_401)
    assert known.news(ALICE, ["a@far.example"]) == ["a@far.example"]


def test_the_oldest_go_when_there_are_too_many(
    known: Correspondents, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
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


def test_storage_trouble_is_no_trouble_of_the_mail(known: Correspondents, place: StatePlace) -> None:
    place.fail()
    known.wrote(ALICE, ["a@far.example"])
    assert not known.knows([ALICE], "a@far.example")


def test_accounts_of_nodes_go_by_their_addresses(place: StatePlace, clock: FakeClock) -> None:
    if not place.is_redis:
        pytest.skip("one node")
    here = RedisCorrespondents(
        place.link(clock), clock, {ALICE: "alice@example.org", BOB: "bob@example.org"}.__getitem__
    )
    there = RedisCorrespondents(place.link(clock), clock, {BOB: "alice@example.org"}.__getitem__)
    here.wrote(ALICE, ["friend@far.example"])
    assert there.knows([BOB], "friend@far.example")
    assert not here.knows([BOB], "friend@far.example")
    assert here.knows([BOB, ALICE], "friend@far.example")


def test_what_was_noted_is_known_at_once_and_written_with_the_next_sync(place: StatePlace, clock: FakeClock) -> None:
    def opened() -> Correspondents:
        return place.make(SqliteCorrespondents, lambda link, clock: RedisCorrespondents(link, clock, str), clock)

    here, elsewhere = opened(), opened()
    here.note(ALICE, ["Friend@far.example"])
    assert here.knows([BOB, ALICE], "friend@far.example")
    assert not here.knows([BOB], "friend@far.example")
    assert here.news(ALICE, ["friend@FAR.example", "b@far.example"]) == ["b@far.example"]
    assert not elsewhere.knows([ALICE], "friend@far.example")
    here.sync()
    assert elsewhere.knows([ALICE], "friend@far.example")
    assert here.news(ALICE, ["friend@far.example"]) == []


def test_what_was_noted_and_cannot_be_written_is_given_up(known: Correspondents, place: StatePlace) -> None:
    known.note(ALICE, ["a@far.example"])
    place.fail()
    known.sync()
    assert not known.knows([ALICE], "a@far.example")
    assert known.news(ALICE, ["a@far.example"]) == ["a@far.example"]
