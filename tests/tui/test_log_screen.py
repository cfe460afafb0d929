"""Log: following the news, standing still while read, filters, the story of a message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tui.console import Console, console
from tests.tui.daemon import Data
from tui.app import ConsoleApp
from tui.screens.decision_log import LogScreen
from tui.screens.log_filter import parse_filter


async def to_log(screen: Console) -> LogScreen:
    await screen.press("3")
    await screen.shows("decisions on record")
    await screen.shows("18:42:07")
    assert isinstance(screen.app.view, LogScreen)
    return screen.app.view


def asked(screen: Console) -> list[dict[str, Any]]:
    return [call["params"] for call in screen.daemon.calls if call["method"] == "trace.search"]


async def news(screen: Console, more: int) -> None:
    screen.daemon.data.door.decisions += more
    screen.daemon.push()


async def test_the_first_row_follows_the_news(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        view = await to_log(screen)
        await screen.until(lambda: "log" in screen.daemon.topics())
        await news(screen, 3)
        await screen.shows("2,313 decisions")
        await screen.until(lambda: view.rows.row is not None and view.rows.row.no == 2313)
        assert "new," not in screen.text()


async def test_rows_stand_still_under_the_cursor_and_the_dot_shows_the_news(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        view = await to_log(screen)
        await screen.press("j")
        before = len(asked(screen))
        await news(screen, 7)
        await screen.shows("+7 new, . to show")
        assert view.rows.row is not None
        assert (view.rows.row.no, len(asked(screen))) == (2309, before)
        await screen.press(".")
        await screen.shows("2,317 decisions")
        assert view.rows.cursor == 0


async def test_nothing_is_asked_while_nothing_comes_or_while_paused(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_log(screen)
        before = len(asked(screen))
        screen.daemon.push()
        await screen.pilot.pause(0.1)
        await screen.press("p")
        await screen.until(lambda: "log" not in screen.daemon.topics())
        await news(screen, 5)
        await screen.pilot.pause(0.1)
        assert len(asked(screen)) == before


async def test_a_filter_finds_counts_and_is_closed_by_esc(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        view = await to_log(screen)
        await screen.press("/")
        await screen.type("win@spam.example junk")
        await screen.press("enter")
        await screen.shows("330 match 'win@spam.example junk'")
        assert asked(screen)[-1] == {"words": ["win@spam.example"], "outcome": "junk", "limit": 100, "count": True}
        await screen.press("G")
        await screen.until(lambda: view.rows.row is not None and view.rows.cursor == 329)
        assert view.rows.row is not None
        assert view.rows.row.no == 2
        await screen.press("escape")
        await screen.shows("2,310 decisions")


async def test_a_filtered_log_says_that_there_are_new_ones_without_counting_others(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_log(screen)
        await screen.press("P")
        await screen.shows("660 match 'problems'")
        await screen.press("j")
        await news(screen, 1)
        await screen.pilot.pause(0.1)
        assert "new ones" not in screen.text()
        await news(screen, 7)
        await screen.shows("new ones, . to show")


async def test_a_million_decisions_open_at_both_ends(tmp_path: Path) -> None:
    async with console(tmp_path, Data(decisions=1_000_000)) as screen:
        view = await to_log(screen)
        before = len(asked(screen))
        await screen.press("G")
        await screen.until(lambda: view.rows.row is not None and view.rows.row.no == 1)
        assert len(asked(screen)) - before <= 2
        await screen.press("g")
        await screen.until(lambda: view.rows.row is not None and view.rows.row.no == 1_000_000)


async def test_nothing_that_matches_says_so(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_log(screen)
        await screen.press("/")
        await screen.type("1.2026@none.example")
        await screen.press("enter")
        await screen.shows("0 of 2,310 match")
        await screen.shows("msgid:")
        await screen.press("y")
        await screen.shows("Not possible: there is no row")


async def test_enter_tells_the_whole_story(tmp_path: Path) -> None:
    async with console(tmp_path, size=(120, 60)) as screen:
        await to_log(screen)
        await screen.press("enter")
        for text in (
            "answered: 250",
            "spf=pass",
            "reject: bl.example",
            "advisory only",
            "stored Git/Mails - by the filter",
            "line 4: fileinto",
            "451 4.7.1 try again",
        ):
            await screen.shows(text)
        text = screen.text()
        assert text.index("attempt") < text.index("delivered  bob")
        await screen.press("!")
        await screen.shows("mailbox trace 7F3A000906")


async def test_t_tells_the_story_from_queue_message_home_and_the_command_line(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await screen.press("2")
        await screen.shows("joe@example.net")
        await screen.press("t")
        await screen.shows("trace: 4XK000000")
        await screen.press("escape", "enter")
        await screen.shows("ATTEMPTS")
        await screen.press("t")
        await screen.shows("WHO IT IS")
        await screen.press("escape")
        await screen.press("1", "t")
        await screen.shows("move to one of the last messages first")
        await screen.press("G", "t")
        await screen.shows("trace: 7F3A01")
        await screen.press("escape")
        await screen.press(":")
        await screen.type("trace nonsense")
        await screen.press("enter")
        await screen.shows("Nothing is known of nonsense.")


async def test_homes_cursor_stays_with_its_message(tmp_path: Path) -> None:
    async with console(tmp_path, size=(120, 40)) as screen:
        await screen.shows("LAST CHANGES")
        await screen.press("j", "j", "j", "j")
        await screen.shows(">18:41 out")
        traffic = screen.daemon.data.traffic
        newer = {**traffic()["last"][0], "id": "NEW", "at": "2026-11-22T18:42:30Z"}
        screen.daemon.data.traffic = lambda: {**traffic(), "last": [newer, *traffic()["last"][:11]]}  # type: ignore[method-assign]
        screen.daemon.push()
        await screen.until(
            lambda: [line[:10] for line in screen.lines() if " out " in line and line[:1] == ">"] == [">18:41 out"]
        )
        lines = screen.lines()
        assert next(number for number, line in enumerate(lines) if line[:1] == ">" and ":" in line) == 22


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("", {}),
        ("ann@example.net @example.org", {"words": ["ann@example.net", "@example.org"]}),
        ("domain:example.org outcome:deny", {"words": ["@example.org"], "outcome": "refused"}),
        ("ip:2001:db8::1 2001:db8::2", {"words": ["2001:db8::1", "2001:db8::2"]}),
        ("msgid:1@x.example", {"words": ["<1@x.example>"]}),
        ("JUNK since:2h until:30m", {"outcome": "junk", "since_seconds": 7200, "until_seconds": 1800}),
        ("Received: from a by b with ESMTPS id 7F3A000906 for <x@y>;", {"words": ["7F3A000906"]}),
    ],
)
def test_typed_filters(typed: str, meant: dict[str, Any]) -> None:
    assert parse_filter(typed) == meant


@pytest.mark.parametrize("typed", ["outcome:maybe", "since:", "since:soon", " ".join("abcdefghijk")])
def test_mistyped_filters_are_told_in_a_sentence(typed: str) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        parse_filter(typed)


async def test_a_log_that_is_asked_for_before_it_was_seen_is_filtered(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        assert isinstance(screen.app, ConsoleApp)
        screen.app.show_log("win@spam.example")
        await screen.shows("330 match")
        screen.app.show_log("@news.example")
        await screen.shows("match '@news.example'")
