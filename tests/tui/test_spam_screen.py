"""Spam: letting in, exempting, banning, modes of checks, and taking each back."""

from __future__ import annotations

from pathlib import Path

from tests.tui.console import Console, console
from tests.tui.daemon import Data


async def to_spam(screen: Console, right: int = 0) -> None:
    await screen.press("7")
    await screen.shows("letters were put off")
    for _ in range(right):
        await screen.press("l")


async def test_let_in_ends_one_wait_for_good(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_spam(screen)
        await screen.press("f")
        await screen.shows("news1@first1.example is let in at its next attempt; no way back.")
        await screen.shows("11 letters were put off")
        assert 1 not in screen.daemon.data.door.waiting
        assert "since," not in screen.text()
        await screen.press("u")
        await screen.shows("Nothing was changed here yet")


async def test_never_delay_asks_whom_and_can_be_undone(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        door = screen.daemon.data.door
        await to_spam(screen)
        for key, kind, value in (
            ("s", "sender", "news1@first1.example"),
            ("d", "domain", "first1.example"),
            ("n", "network", "198.51.100.1"),
            ("r", "recipient", "bob@example.org"),
        ):
            await screen.press("w", key)
            await screen.shows(f"The {kind} {value} never waits from now on - u undo")
            assert (kind, value, "") in door.allowed
            await screen.press("u")
            await screen.shows(f"{value} is no longer exempt")
            assert (kind, value, "") not in door.allowed
        await screen.press("w", "x")
        await screen.shows("Cancelled, nothing was changed.")


async def test_a_client_is_banned_from_the_greylist_and_comes_in_again(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        door = screen.daemon.data.door
        await to_spam(screen)
        await screen.press("B", "y")
        await screen.shows("198.51.100.1 may not connect now - u undo")
        assert door.bans["198.51.100.1"]["expires_at"] is not None
        await screen.press("u")
        await screen.shows("198.51.100.1 may come in again")
        assert "198.51.100.1" not in door.bans


async def test_bans_are_added_and_ended_and_a_mistake_is_told(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        door = screen.daemon.data.door
        await to_spam(screen, 2)
        await screen.shows("2 networks may not connect.")
        await screen.press("a")
        await screen.type("192.0.2.0/24 7d no end of spam")
        await screen.press("enter")
        await screen.shows("192.0.2.0/24 may not connect now")
        assert door.bans["192.0.2.0/24"]["reason"] == "no end of spam"
        await screen.shows("[bans 3]")
        await screen.press("a")
        await screen.type("nobody")
        await screen.press("enter")
        await screen.shows("neither an address nor a network")
        await screen.press("g", "D", "y")
        await screen.shows("203.0.113.77 may come in again - u undo")
        await screen.press("u")
        await screen.shows("203.0.113.77 is banned again")
        again = next(call["params"] for call in reversed(screen.daemon.calls) if call["method"] == "ban.add")
        assert again == {"network": "203.0.113.77", "seconds": 1320, "reason": "guessed 12 passwords"}


async def test_exemptions_are_added_and_ended(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_spam(screen, 1)
        await screen.shows("2 exemptions")
        await screen.press("a")
        await screen.type("recipient carl@example.org wants all at once")
        await screen.press("enter")
        await screen.shows("The recipient carl@example.org never waits")
        assert ("recipient", "carl@example.org", "wants all at once") in screen.daemon.data.door.allowed
        await screen.press("g", "D", "y")
        await screen.shows("The domain example.net is no longer exempt - u undo")
        await screen.press("u")
        await screen.shows("The domain example.net is exempt again")
        assert ("domain", "example.net", "our printer's maker") in screen.daemon.data.door.allowed


async def test_a_checks_mode_is_changed_and_changed_back(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_spam(screen, 3)
        await screen.shows("6 checks. Junk from score 5, refused from 12.")
        await screen.press("j", "e")
        await screen.shows("ptr is enforce, make it:")
        await screen.press("o")
        await screen.shows("ptr is off now - u undo")
        assert screen.daemon.data.door.modes == {"ptr": "off"}
        await screen.press("u")
        await screen.shows("ptr is enforce again")
        await screen.press("!")
        await screen.shows("mailbox config set policy.checks.ptr advisory")


async def test_a_list_that_is_off_says_why(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_spam(screen)
        await screen.press("h")
        await screen.shows("1 answers wrong and is switched off for now.")
        await screen.shows("OFF! bl.example")
        await screen.press("e")
        await screen.shows("mode does nothing in the pane lists")


async def test_news_is_counted_and_filters_work_in_every_pane(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        door = screen.daemon.data.door
        await to_spam(screen)
        door.waiting += [20, 21]
        screen.daemon.push()
        await screen.shows("+2 since, . to show")
        await screen.press(".")
        await screen.shows("14 letters")
        await screen.press("/")
        await screen.type("no SPF")
        await screen.press("enter")
        await screen.shows("5 match 'no SPF'")
        await screen.press("l", "/")
        await screen.type("printer")
        await screen.press("enter")
        await screen.shows("1 match 'printer'")
        await screen.press("escape")
        await screen.shows("2 exemptions")


async def test_t_shows_the_log_of_the_sender(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_spam(screen)
        await screen.press("t")
        await screen.shows("0 of 2,310 match 'news1@first1.example'")
        await screen.press("-")
        await screen.shows("letters were put off")


async def test_a_read_only_console_changes_nothing(tmp_path: Path) -> None:
    async with console(tmp_path, read_only=True) as screen:
        await to_spam(screen)
        for key in ("f", "w", "B", "a", "u"):
            await screen.press(key)
            await screen.shows("read-only")
        assert len(screen.daemon.data.door.waiting) == 12


async def test_home_tells_in_one_line_what_is_held_up_or_nothing(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await screen.shows("12 put off by the greylist   2 banned   1 DNS list off")
    async with console(tmp_path, Data(quiet=True)) as screen:
        assert "SPAM " not in screen.text()


async def test_a_lost_daemon_leaves_the_rows_grey_and_changes_nothing(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await screen.press("3")
        await screen.shows("18:42:07")
        await to_spam(screen)
        await screen.daemon.stop()
        await screen.shows("STALE")
        await screen.press("f")
        await screen.shows("Not connected")
        await screen.shows("news1@first1")
        await screen.press("3")
        await screen.shows("18:42:07")
        screen.daemon.data.door.decisions += 2
        await screen.daemon.start()
        await screen.press("R")
        await screen.shows("2,312 decisions")
        assert len(screen.daemon.data.door.waiting) == 12
