from __future__ import annotations

import asyncio
from typing import cast

import pytest

from mailbox_app.outbound import pool
from mailbox_app.outbound.pool import Crowded, Place, Pool
from mailbox_app.outbound.routes.choosing import Route
from mailbox_app.outbound.routes.states import RouteStates
from mailbox_app.outbound.smtp_client import SmtpConnection
from tests.support.clock import FakeClock


class Line:
    """As much of a connection as the pool looks at."""

    def __init__(self, most: int = 0) -> None:
        self.messages = 1
        self.has_unread = self.is_over = False
        self.at_rest = True
        self.state = "open"
        self.at_rest = True
        self.resets = 0
        self._most = most

    def limit(self, name: str) -> int:
        return self._most

    async def rest(self) -> bool:
        self.resets += 1
        self.at_rest = True
        return True

    def leave(self) -> None:
        self.state = "left"

    def close(self) -> None:
        self.state = "closed"


def kept(made: Pool, place: Place, line: Line) -> Line:
    made.keep(place, cast("SmtpConnection", line))
    return line


def place(number: int = 0, **changes: object) -> Place:
    return Place("mx", "", f"mx{number}.example", "192.0.2.1", 25)._replace(**changes)  # type: ignore[arg-type]


async def test_only_so_many_wait_and_the_oldest_leaves_first() -> None:
    made = Pool()
    lines = [kept(made, place(number), Line()) for number in range(255)]
    assert [line.state for line in lines[:6]] == ["left"] * 5 + ["open"]
    made.close()
    assert {line.state for line in lines} == {"left"}
    assert not made._by_place


@pytest.mark.parametrize(
    "change", [{"route": "r"}, {"source": "192.0.2.9"}, {"level": "x"}, {"port": 26}, {"host": "b"}]
)
async def test_a_connection_serves_only_its_own_place(change: dict[str, object]) -> None:
    made = Pool()
    line = kept(made, place(), Line())
    assert await made.take(place(**change)) is None  # type: ignore[arg-type]
    assert await made.take(place()) is cast("SmtpConnection", line)
    assert await made.take(place()) is None


async def test_a_host_that_takes_few_messages_is_left_in_time() -> None:
    made = Pool()
    assert kept(made, place(), Line(most=1)).state == "left"
    assert kept(made, place(), Line(most=2)).state == "open"
    made.close()


async def test_a_turn_comes_when_another_ends_and_else_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_TURN_SECONDS", 0.05)
    made, order = Pool(), list[str]()

    async def wait(name: str) -> None:
        try:
            async with made.turn(place(), 1):
                order.append(name)
        except Crowded:
            order.append(f"{name} not")

    async with made.turn(place(), 1):
        async with made.turn(place(address="192.0.2.2"), 1):
            order.append("elsewhere")
        await wait("first")
        second = asyncio.create_task(wait("second"))
        await asyncio.sleep(0)
    await second
    assert order == ["elsewhere", "first not", "second"]
    assert not made._in_use
    assert not made._queued


def test_a_rate_holds_over_every_minute() -> None:
    clock = FakeClock()
    states, route = RouteStates(clock), Route("r", rate=60)
    gone = 0
    for _ in range(6000):
        clock.skip(0.01)
        gone += states.seconds_to_wait(route) == 0.0
    assert 58 <= gone <= 61
    clock.skip(3600)
    assert sum(states.seconds_to_wait(route) == 0.0 for _ in range(100)) <= 11, "a rest saves up ten seconds, no more"
    assert states.seconds_to_wait(Route("free")) == 0.0


async def test_a_transaction_that_came_to_nothing_is_ended_before_the_next_one() -> None:
    made = Pool()
    line = Line()
    line.at_rest = False
    kept(made, place(), line)
    assert await made.take(place()) is cast("SmtpConnection", line)
    assert line.resets == 1
    kept(made, place(), line)
    assert await made.take(place()) is cast("SmtpConnection", line)
    assert line.resets == 1, "after a delivery nothing is open"
