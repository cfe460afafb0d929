import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.tui.console import Console, console
from tests.tui.daemon import Data
from tui.keyset import KeysetRows
from tui.screens.deleted_mail import DeletedMailPage, parse_filter
from tui.screens.undelete import told


async def to_deleted(screen: Console) -> DeletedMailPage:
    await screen.press("5")
    await screen.shows("anna@example.org")
    await screen.press("d")
    await screen.shows("deleted mail: anna@example.org")
    await screen.until(lambda: "Asking the daemon" not in screen.text() and "account" in screen.daemon.topics())
    view = screen.app.view
    assert isinstance(view, DeletedMailPage)
    return view


def called(screen: Console, method: str) -> list[dict[str, Any]]:
    return [call["params"] for call in screen.daemon.calls if call["method"] == method]


def written(folder: Path) -> list[str]:
    """The lines of the one file that was exported."""
    (file,) = folder.glob("mailbox-deleted-mail-*.csv")
    return file.read_text(encoding="utf-8").splitlines()


async def test_one_message_comes_back_after_y(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_deleted(screen)
        await screen.press("u")
        await screen.shows("Restore 1 message, 280 KB, to INBOX?")
        await screen.press("n")
        await screen.shows("Cancelled, nothing was changed.")
        assert called(screen, "retained.restore") == []
        await screen.press("u")
        await screen.shows("y runs")
        await screen.press("y")
        await screen.shows("1 message is back in INBOX.")
        await screen.shows("36 deleted messages")
        assert called(screen, "retained.restore") == [{"address": "anna@example.org", "ids": ["1-36"]}]


async def test_marked_messages_show_where_they_go_and_what_must_be_made_again(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        view = await to_deleted(screen)
        await screen.press("space", "space", "u")
        await screen.shows("WHERE TO")
        await screen.shows("1  Work/2026")
        await screen.shows("gone, made again")
        await screen.press("n")
        await screen.shows("37 deleted messages")
        assert len(view.rows.marks) == 2
        await screen.press("u")
        await screen.shows("WHERE TO")
        await screen.shows("y runs")
        await screen.press("y")
        await screen.shows("2 messages are back: 1 in ")
        await screen.shows("35 deleted messages")
        assert view.rows.marks == {}


async def test_all_of_a_filter_come_back_but_not_what_was_deleted_since(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_deleted(screen)
        await screen.press("/")
        await screen.type("LUNCH mailbox:INBOX")
        await screen.press("enter")
        await screen.shows("4 of 37 deleted messages match")
        screen.daemon.data.people.deleted = 60
        screen.daemon.push()
        await screen.shows("+23 new, . to show")
        await screen.press("*", "u")
        await screen.shows("Restore 4 messages")
        await screen.press("y")
        await screen.shows("4 messages are back in INBOX.")
        (done,) = called(screen, "retained.restore")
        assert done == {"address": "anna@example.org", "plan": "1-36", "text": "LUNCH", "mailbox": "INBOX"}
        assert len(screen.daemon.data.people.gone) == 4


async def test_marks_of_all_end_when_the_list_is_fetched_anew(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        view = await to_deleted(screen)
        await screen.press("*")
        await screen.shows("All 37 listed are marked")
        await screen.press("enter")
        await screen.shows("flags:")
        await screen.press("escape")
        await screen.shows("All 37 listed are marked.")
        await screen.press(".")
        await screen.until(lambda: not view.rows.all_marked)


async def test_a_quota_without_room_is_said_and_nothing_asked(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_deleted(screen)
        screen.daemon.data.people.fits = False
        await screen.press("*", "u")
        await screen.shows("The quota has no room for 37 messages")
        assert called(screen, "retained.restore") == []


async def test_what_somebody_else_restored_meanwhile_is_told(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_deleted(screen)
        screen.daemon.data.people.gone.update({35, 36})
        screen.daemon.push()
        await screen.shows("2 gone, . to show")
        await screen.press("u")
        await screen.shows("Nothing to restore: it is not kept any more.")
        await screen.shows("35 deleted messages")


async def test_a_message_is_restored_from_its_page(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_deleted(screen)
        await screen.press("enter")
        await screen.shows("deleted message: 1-36")
        await screen.press("u")
        await screen.shows("Restore 1 message")
        await screen.press("y")
        await screen.shows("1 message is back in INBOX.")
        await screen.shows("36 deleted messages")


async def test_an_empty_list_says_why(tmp_path: Path) -> None:
    async with console(tmp_path, Data(deleted=0)) as screen:
        await to_deleted(screen)
        await screen.shows("Nothing is kept of what was deleted.")
        await screen.shows("What is expunged from now on stays here for 14 days,")
        screen.daemon.data.people.deleted = 2
        screen.daemon.push()
        await screen.shows("2 deleted messages")
        screen.daemon.data.people.kept_days = screen.daemon.data.people.deleted = 0
        await screen.press("R")
        await screen.shows("retention.expunged_days is 0")


async def test_the_end_of_a_long_list_is_reached_and_holds_three_pages(tmp_path: Path) -> None:
    async with console(tmp_path, Data(deleted=5_000)) as screen:
        view = await to_deleted(screen)
        await screen.shows("5,000 deleted messages")
        await screen.press("G")
        await screen.until(lambda: view.rows.row is not None and view.rows.row.id == "1-0")
        assert view.rows.cursor == 4_999
        assert len(view.rows._pages) <= 3
        await screen.press("/")
        await screen.type("photos")
        await screen.press("enter")
        await screen.shows("1,000 of 5,000 deleted messages match")


async def test_the_command_line_names_the_same(tmp_path: Path) -> None:
    async with console(tmp_path, size=(120, 40)) as screen:
        await to_deleted(screen)
        await screen.press("!")
        await screen.shows("mailbox user restore anna@example.org --id 1-36")
        await screen.press("n", "/")
        await screen.type('mailbox:"Work/2026" since:20d roof')
        await screen.press("enter")
        await screen.shows("match")
        await screen.press("*", "!")
        await screen.shows("restore anna@example.org --all --mailbox Work/2026 --since 1728000s --search roof")


async def test_the_filtered_list_is_exported_and_a_refusal_is_told(tmp_path: Path) -> None:
    async with console(tmp_path, Data(deleted=1_200)) as screen:
        view = await to_deleted(screen)
        view._exporter._folder = tmp_path
        await screen.press("/")
        await screen.type("photos")
        await screen.press("enter")
        await screen.shows("240 of 1,200 deleted messages match")
        await screen.press("o")
        await screen.shows("Export this view as")
        await screen.press("c")
        await screen.shows("Wrote 240 rows")
        lines = written(tmp_path)
        assert len(lines) == 241
        assert all("Photos" in line for line in lines[1:])
        screen.daemon.data.people.accounts = 0
        await screen.press("o", "j")
        await screen.shows("There is no account anna@example.org. Look at the list.")


async def test_a_lost_daemon_leaves_the_list_and_refuses(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_deleted(screen)
        await screen.daemon.stop()
        await screen.shows("STALE")
        await screen.press("u")
        await screen.shows("Not connected: what you see is old")
        await screen.daemon.start()
        await screen.until(lambda: "STALE" not in screen.text())
        await screen.shows("37 deleted messages")


def test_filter_words() -> None:
    assert parse_filter('mailbox:"Sent Items" since:2d a b') == {
        "mailbox": "Sent Items",
        "since_seconds": 172_800,
        "text": "a b",
    }
    for wrong in ("mailbox:", "since:soon", 'mailbox:"x'):
        with pytest.raises(ValueError, match=r"needs a value|takes a duration|quotation mark"):
            parse_filter(wrong)


def test_the_result_names_places_and_what_is_missing() -> None:
    answer: dict[str, Any] = {
        "restored": 1200,
        "left_out": 1,
        "messages": [{"mailbox": "A"}] * 600 + [{"mailbox": "B"}] * 400,
    }
    assert told(answer) == (
        "1,200 messages are back: 600 of the first thousand in A, 400 of the first thousand in B. "
        "1 is not kept any more."
    )
    assert told({"restored": 0, "left_out": 2}) == "Nothing came back. 2 are not kept any more."


async def test_rows_by_number_walk_from_the_nearest_known_place() -> None:
    asked: list[tuple[str, int]] = []

    async def ask(before: str, limit: int) -> dict[str, Any]:
        asked.append((before, limit))
        start = int(before or 0)
        end = min(start + limit, 2_000, start + 300)  # shorter than asked for, as a filter makes them
        return {"rows": [{"n": n} for n in range(start, end)], "next": str(end) if end < 2_000 else None}

    rows = KeysetRows(ask, "rows")
    found = await rows.rows(900, 100)
    assert found is not None
    assert [row["n"] for row in found] == list(range(900, 1_000))
    assert asked == [("", 500), ("300", 500), ("600", 300), ("900", 100)]
    asked.clear()
    found = await rows.rows(1_950, 100)
    assert found is not None
    assert (len(found), asked[0][0]) == (50, "1000")
    both = await asyncio.gather(rows.rows(0, 100), rows.rows(100, 100))
    assert [part[0]["n"] for part in both if part] == [0, 100]
