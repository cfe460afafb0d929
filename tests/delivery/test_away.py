"""Out-of-office answers by dates, beside the account's own script."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.delivery.away import Away, compose, read
from mailbox_app.errors import StoreError
from mailbox_app.proto.sieve.script import compile_script
from tests.support.filtered import ALICE, CAROL, MESSAGE, FilteredWorld, filtered_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[FilteredWorld]:
    async with filtered_world(tmp_path) as made:
        yield made


def be_away(world: FilteredWorld, away: Away) -> None:
    world.smtp.filters.scripts.set_away(world.account(ALICE).ref, compose(away))


async def test_answers_go_out_between_the_days_and_the_own_script_runs_too(world: FilteredWorld) -> None:
    world.script('require ["fileinto", "mailbox"]; fileinto :create "Own";')
    be_away(world, Away(text='Back on "Monday"\\o/', first_day=date(2026, 1, 7), last_day=date(2026, 1, 8)))
    await world.deliver()
    assert world.queued() == []
    world.clock.skip(2 * 86_400)
    await world.deliver()
    await world.deliver()
    assert [recipient for _, recipient, _ in world.queued()] == [CAROL]
    world.clock.skip(2 * 86_400)
    await world.deliver(sender="other@remote.example")
    assert len(world.queued()) == 1
    assert world.counts() == {"Own": 4}
    answer = message_from_bytes(world.smtp.queued_content()[0], policy=policy.default)
    assert answer.get_content().strip() == 'Back on "Monday"\\o/'  # type: ignore[attr-defined]
    assert answer["Subject"] == "Auto: lunch"


async def test_it_works_without_a_script_and_ends_when_it_is_taken_back(world: FilteredWorld) -> None:
    be_away(world, Away(text="Away", subject="Out"))
    await world.send()
    assert (world.counts(), len(world.queued())) == ({"INBOX": 1}, 1)
    world.smtp.filters.scripts.set_away(world.account(ALICE).ref, None)
    world.clock.skip(30 * 86_400)
    await world.send()
    assert len(world.queued()) == 1


@pytest.mark.parametrize("script", ["discard;", 'require "reject"; reject "no";'])
async def test_no_answer_for_what_the_own_script_throws_away(world: FilteredWorld, script: str) -> None:
    world.script(script)
    be_away(world, Away(text="Away"))
    await world.send(content=MESSAGE)
    assert world.queued() == []


def test_days_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(StoreError, match="before the first"):
        compose(Away(text="x", first_day=date(2026, 2, 2), last_day=date(2026, 2, 1)))


@given(
    st.builds(
        Away,
        text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200),
        subject=st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
        first_day=st.none() | st.just(date(2026, 1, 1)),
        last_day=st.none() | st.just(date(2026, 12, 31)),
        every_days=st.integers(1, 365),
    )
)
def test_any_words_make_a_valid_script_that_can_be_read_back(away: Away) -> None:
    script = compose(away)
    compile_script(script)
    assert read(script) == away
