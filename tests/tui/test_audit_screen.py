from pathlib import Path

from tests.tui.console import console
from tests.tui.daemon import Data


async def test_entry_shows_the_difference_and_enter_shows_it_all(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await screen.press("9")
        await screen.shows("+ state = active")
        await screen.press("enter")
        await screen.shows("BEFORE")
        await screen.shows("AFTER")


async def test_new_entries_wait_for_the_dot(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await screen.press("9")
        await screen.shows("212 changes on record")
        await screen.shows("212  18:42")
        screen.daemon.data.audit_count = 214
        screen.daemon.push()
        await screen.shows("+2 new, . to show")
        assert "   214  " not in screen.text()
        await screen.press(".")
        await screen.shows("   214  ")


async def test_verify_says_whether_the_chain_is_whole(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await screen.press("9", "c")
        await screen.shows("Chain is whole: 212 entries")


async def test_filter_by_actor(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await screen.press("9", "/")
        await screen.type("who:eva")
        await screen.press("enter")
        await screen.shows("70 of 212 changes match")
        await screen.press("escape")
        await screen.shows("212 changes on record")


async def test_an_empty_audit_says_why(tmp_path: Path) -> None:
    async with console(tmp_path, Data(audit=0)) as screen:
        await screen.press("9")
        await screen.shows("Nothing was changed yet.")


async def test_a_million_entries_open_at_both_ends(tmp_path: Path) -> None:
    async with console(tmp_path, Data(audit=1_000_000)) as screen:
        await screen.press("9")
        await screen.shows("1000000")
        await screen.press("G")
        await screen.shows("     1  ")
