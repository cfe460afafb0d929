"""Golden text dumps, and what must hold on every screen: nothing cut, nothing hostile, nothing repainted for nothing."""

from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.tui.console import console
from tests.tui.daemon import Data
from tests.tui.shots import SCENES, SIZES, name_of, take
from tui.format import UNSAFE
from tui.screens import SCREENS


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40"])
@pytest.mark.parametrize("scene", SCENES)
async def test_screen_looks_as_recorded(scene: str, size: tuple[int, int], tmp_path: Path) -> None:
    text = await take(scene, size, tmp_path)
    assert text == name_of(scene, size).read_text(encoding="utf-8"), "look, then: python -m tests.tui.shots"


@pytest.mark.parametrize("size", [(80, 24), (60, 16), (200, 60)])
async def test_hostile_data_is_shown_but_never_reaches_the_terminal(tmp_path: Path, size: tuple[int, int]) -> None:
    async with console(tmp_path, Data(hostile=True), size=size) as screen:
        for keys in (
            ["1"],
            ["2"],
            ["j"],
            ["enter"],
            ["G"],
            ["escape"],
            ["m"],
            ["escape"],
            ["D"],
            ["n"],
            ["9"],
            ["enter"],
            ["escape"],
            ["!"],
            ["x"],
            ["5"],
            ["j"],
            ["enter"],
            ["escape"],
            ["w"],
            ["D"],
            ["n"],
            ["escape"],
            ["d"],
            ["enter"],
            ["escape"],
            ["*", "u"],
            ["n"],
            ["!"],
            ["n"],
            ["3"],
            ["j"],
            ["!"],
            ["n"],
            ["enter"],
            ["G"],
            ["escape"],
            ["m"],
            ["escape"],
            ["7"],
            ["w"],
            ["n"],
            ["B"],
            ["n"],
            ["f"],
            ["l"],
            ["D"],
            ["y"],
            ["u"],
            ["l"],
            ["D"],
            ["n"],
            ["l"],
            ["e"],
            ["n"],
            ["l"],
            ["1"],
            ["G"],
            ["t"],
            ["5", "f"],
            ["f"],
            ["!"],
        ):
            await screen.press(*keys)
            await screen.pilot.pause(0.02)
            text = screen.text().replace("\n", "")
            assert not UNSAFE.search(text), keys
            assert {cell_len(line) <= size[0] for line in screen.lines()} == {True}
        await screen.press("2")
        await screen.shows("[/foo]")


async def test_first_hints_and_columns_are_whole_at_80_columns(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        for view in SCREENS:
            await screen.press(view.DIGIT)
            await screen.pilot.pause(0.05)
            hints = screen.lines()[-1]
            assert cell_len(hints) <= 80
            for name in view.HINTS[:7]:
                action = screen.app.desk.keys[name]
                assert f"{action.shown} {action.label}" in hints
        await screen.press("2")
        await screen.shows("   ST   NEXT  AGE TRY  SIZE FROM             TO                 LAST ANSWER")


async def test_ascii_mode_draws_only_ascii(tmp_path: Path) -> None:
    async with console(tmp_path, ascii_only=True) as screen:
        for key in ("1", "2", "3", "7", "9", "?"):
            await screen.press(key)
            await screen.pilot.pause(0.05)
            assert screen.text().isascii()


@pytest.mark.parametrize("size", [(59, 24), (80, 15), (20, 5)])
async def test_a_small_terminal_gets_one_line_and_comes_back(tmp_path: Path, size: tuple[int, int]) -> None:
    async with console(tmp_path) as screen:
        await screen.pilot.resize_terminal(*size)
        await screen.shows(f"needs 60x16, have {size[0]}x{size[1]}"[: size[0]])
        await screen.pilot.resize_terminal(80, 24)
        await screen.shows("SERVICES")


async def test_only_the_visible_screen_is_followed(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await screen.until(lambda: screen.daemon.topics() == ["audit", "health", "traffic"])
        await screen.press("2")
        await screen.until(lambda: screen.daemon.topics() == ["health", "queue.window", "queue.window"])
        await screen.press("p")
        await screen.until(lambda: screen.daemon.topics() == ["health"])
        await screen.shows("PAUSED")
        await screen.press("p")
        await screen.until(lambda: screen.daemon.topics() == ["health", "queue.window", "queue.window"])
        await screen.press("9")
        await screen.until(lambda: screen.daemon.topics() == ["audit", "health"])


async def test_home_shows_news_and_opens_what_needs_the_operator(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        screen.daemon.data.received = 2_000
        screen.daemon.data.health_extra = {"state": "ok", "answer": "Mail flows. Nothing needs you.", "todo": []}
        screen.daemon.push()
        await screen.shows("2,000")
        await screen.shows("Nothing needs you.")
        screen.daemon.data.health_extra = {}
        screen.daemon.push()
        await screen.shows("2 recipients are late")
        await screen.press("j", "enter")
        await screen.shows("LAST ANSWER")


async def test_digits_dash_and_quit_walk_between_screens(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await screen.press("2", "9")
        await screen.shows("on record")
        await screen.press("-")
        await screen.shows("LAST ANSWER")
        await screen.press("enter")
        await screen.shows("ATTEMPTS")
        await screen.press("q")
        await screen.shows("LAST ANSWER")
        await screen.press("q")
        await screen.until(lambda: screen.app.return_value == 0)


async def test_command_line_runs_the_same_actions(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await screen.press(":")
        await screen.type("queue")
        await screen.press("enter")
        await screen.shows("LAST ANSWER")
        await screen.press(":")
        await screen.type("mailbox queue drop")
        await screen.press("enter")
        await screen.shows("Drop 1 recipient of 1 message?")
        await screen.press("n")
        await screen.shows("Cancelled")
        await screen.press(":")
        await screen.type("[/foo]")
        await screen.press("enter")
        await screen.shows("No action is called '[/foo]'")
        await screen.press("j", "!")
        await screen.shows("mailbox queue retry | hold | bounce | drop 4XK000001")


async def test_help_runs_the_action_under_its_cursor(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await screen.press("2", "?")
        await screen.shows("THIS LIST")
        await screen.press("enter")
        await screen.until(lambda: "queue.plan" in screen.methods())


async def test_palette_finds_by_letters_and_runs(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await screen.press("ctrl+p")
        await screen.type("go to audit")
        await screen.press("enter")
        await screen.shows("on record")


async def test_a_thing_to_do_that_is_too_long_for_its_row_is_read_whole_above_the_list(tmp_path: Path) -> None:
    long = "All mail of anna@example.org is held, it wrote to 200 recipients within ten minutes, usually to 3 a day"
    data = Data()
    data.health_extra["todo"] = [
        {"state": "WARN", "text": long, "screen": "Accounts", "since": None},
        {"state": "info", "text": f"{long.replace('anna', 'bob')} before noon", "screen": "Accounts", "since": None},
    ]
    async with console(tmp_path, data) as screen:
        await screen.press("j")
        await screen.shows("bob@example.org")
        await screen.until(lambda: "usually to 3 a day before noon" in " ".join(screen.text().split()))
