"""A stolen password, and honest people who write much: what leaves, what waits, and who is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailbox_app.mailqueue.model import QueueFilter, RecipientState
from tests.support.clock import FakeClock
from tests.support.smtp import SmtpWorld, smtp_world

MESSAGE = b"From: alice@example.org\r\nTo: x@x.example\r\nSubject: hi\r\n\r\nhello\r\n"


def held(world: SmtpWorld) -> dict[str, str]:
    rows = world.queue.window(QueueFilter(), "recipient", False, 0, 1000)[1]
    return {row.address: row.hold_reason for row in rows if row.state is RecipientState.HELD}


async def send(world: SmtpWorld, *recipients: str) -> str:
    client = await world.logged_in()
    await client.begin("alice@example.org", *recipients)
    code, text = await client.content(MESSAGE)
    assert code == 250
    return text


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("account_recipients_per_hour = 2", "more than 2 recipients in an hour"),
        ("account_recipients_per_day = 2", "more than 2 recipients in a day"),
        ("account_new_recipients_per_day = 2", "more than 2 people in a day whom it never wrote to before"),
    ],
)
async def test_mail_beyond_a_limit_is_taken_held_and_told(tmp_path: Path, setting: str, text: str) -> None:
    async with smtp_world(tmp_path, settings=f"[abuse]\n{setting}\n", checks=[]) as world:
        assert "held" not in await send(world, "a@x.example", "b@x.example")
        assert text in await send(world, "c@x.example")
        assert list(held(world)) == ["c@x.example"]
        assert text in held(world)["c@x.example"]


async def test_people_written_to_before_are_not_new(tmp_path: Path) -> None:
    settings = "[abuse]\naccount_new_recipients_per_day = 2\n"
    async with smtp_world(tmp_path, settings=settings, checks=[]) as world:
        for _ in range(3):
            await send(world, "a@x.example", "b@x.example")
        assert held(world) == {}


async def test_recipients_here_do_not_count_and_are_not_held(tmp_path: Path) -> None:
    settings = "[abuse]\naccount_recipients_per_hour = 1\n"
    async with smtp_world(tmp_path, settings=settings, checks=[]) as world:
        await send(world, "bob@example.org", "a@x.example")
        await send(world, "bob@example.org", "b@x.example")
        assert list(held(world)) == ["b@x.example"]
        assert len(world.inbox("bob@example.org")) == 2


async def test_a_burst_brakes_the_account_until_an_operator_removes_the_rule(tmp_path: Path) -> None:
    settings, clock = "[abuse]\naccount_burst = 3\n", FakeClock()
    async with smtp_world(tmp_path, settings=settings, checks=[], clock=clock) as world:
        await send(world, "a@x.example", "b@x.example", "c@x.example")
        assert "held: alice@example.org wrote to 4 recipients within ten minutes" in await send(world, "d@x.example")
        await clock.advance(7200)
        await send(world, "e@x.example")
        assert list(held(world)) == ["d@x.example", "e@x.example"]
        [rule] = world.queue.rules()
        assert rule.submitter == "alice@example.org"
        world.queue.remove_rule(rule.number)
        await clock.advance(7200)
        await send(world, "f@x.example")
        assert "f@x.example" not in held(world)


async def test_the_built_in_limits_spare_this_machine_and_bind_strangers(tmp_path: Path) -> None:
    many = [f"r{number}@x.example" for number in range(100)]
    async with smtp_world(tmp_path, settings="", checks=[]) as world:
        for _ in range(4):
            await send(world, *many)
        assert held(world) == {}
    (tmp_path / "far").mkdir()
    async with smtp_world(tmp_path / "far", settings="", checks=[]) as world:
        world.clients.ip = "203.0.113.9"
        await send(world, *many)
        assert "held" in await send(world, *many)
