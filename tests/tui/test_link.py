"""The line to the terminal: judged by answers only, and what the console does about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events

from tests.tui.console import console
from tui.link import SLOW_SECONDS, STUCK_SECONDS, Link


def test_a_terminal_that_never_answers_is_not_judged() -> None:
    link = Link()
    assert link.asking(0.0)
    assert link.pace(100.0) == "fast"
    assert link.asking(105.0)


def test_the_time_of_the_answer_is_the_pace() -> None:
    link = Link()
    seen = (
        (0.0, 0.01, "fast"),
        (5.0, SLOW_SECONDS + 0.1, "slow"),
        (10.0, STUCK_SECONDS + 1, "stuck"),
        (20.0, 0.1, "fast"),
    )
    for now, took, pace in seen:
        assert link.asking(now)
        link.answered(now + took)
        assert link.pace(now + took) == pace


def test_an_overdue_answer_counts_before_it_comes_and_is_not_asked_for_twice() -> None:
    link = Link()
    link.asking(0.0)
    link.answered(0.01)
    assert link.asking(5.0)
    assert link.pace(5.2) == "fast"
    assert link.pace(5.0 + SLOW_SECONDS + 0.1) == "slow"
    assert link.pace(10.0) == "stuck"
    assert not link.asking(10.0)
    link.answered(12.0)
    assert link.pace(12.0) == "stuck"
    link.asking(12.0)
    link.answered(12.1)
    assert link.pace(12.1) == "fast"


@pytest.fixture
def monotonic(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock that times answers, moved by hand."""
    now = [0.0]
    monkeypatch.setattr("tui.attention.monotonic", lambda: now[0])
    return now


async def test_a_slow_line_gets_half_the_rate_and_a_stuck_one_nothing(tmp_path: Path, monotonic: list[float]) -> None:
    async with console(tmp_path) as screen:
        app = screen.app

        async def answer(seconds: float) -> None:
            app._attention.ask()
            monotonic[0] += seconds
            app.post_message(events.CursorPosition(1, 1))

        await answer(0.5)
        await screen.shows("slow link")
        await screen.until(lambda: {want.max_hz for want, _ in app.desk.feeds._open} == {0.5})
        await answer(3.0)
        await screen.shows("PAUSED slow link")
        await screen.until(lambda: screen.daemon.topics() == ["health"])
        await answer(0.01)
        await screen.shows_not("slow link")
        await screen.until(lambda: screen.daemon.topics() == ["audit", "health", "traffic"])


async def test_a_terminal_without_focus_follows_only_health(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        screen.app.post_message(events.AppBlur())
        await screen.shows("PAUSED no focus")
        await screen.until(lambda: screen.daemon.topics() == ["health"])
        screen.app.post_message(events.AppFocus())
        await screen.shows_not("PAUSED")
        await screen.until(lambda: screen.daemon.topics() == ["audit", "health", "traffic"])
