import csv
import gc
import json
import stat
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tui.console import Console, console
from tests.tui.daemon import NOW, Data, iso
from tui.screens.queue_filter import parse_filter
from tui.screens.queued_mail import QueueScreen
from tui.screens.view import marked


async def to_queue(screen: Console) -> QueueScreen:
    await screen.press("2")
    await screen.shows("joe@example.net") if screen.daemon.data.size else await screen.shows("Nothing is waiting")
    view = screen.app.view
    assert isinstance(view, QueueScreen)
    return view


def called(screen: Console, method: str) -> list[dict[str, object]]:
    return [call["params"] for call in screen.daemon.calls if call["method"] == method]


async def test_hold_asks_nothing_and_release_takes_it_back(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_queue(screen)
        await screen.press("x")
        await screen.shows("Held 1 recipient of 1 message - x releases")
        assert called(screen, "queue.plan") == [{"action": "hold", "recipients": [["4XK000000", "joe@example.net"]]}]
        await screen.until(lambda: ">  HOLD" in screen.text())
        await screen.press("x")
        await screen.shows("Release 1 recipient")
        assert called(screen, "queue.apply")[-1]["action"] == "release"


async def test_bounce_is_applied_only_after_y_with_the_hash_of_the_plan(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_queue(screen)
        await screen.press("f")
        await screen.shows("Fail and bounce 1 recipient of 1 message?")
        await screen.press("j")
        await screen.shows("Cancelled, nothing was changed.")
        assert called(screen, "queue.apply") == []
        await screen.press("f")
        await screen.shows("y runs")
        await screen.press("y")
        await screen.until(lambda: called(screen, "queue.apply"))
        (applied,) = called(screen, "queue.apply")
        assert applied["plan"]
        assert applied["recipients"] == [["4XK000000", "joe@example.net"]]
        await screen.until(lambda: screen.daemon.data.gone == {0})


async def test_a_set_that_changed_meanwhile_is_refused_and_nothing_is_done(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_queue(screen)
        await screen.press("*", "r")
        await screen.shows("Retry 14 recipients")
        screen.daemon.data.size = 16
        await screen.press("y")
        await screen.shows("The queue changed since the question was asked")
        assert screen.daemon.data.changed == {}


async def test_loads_that_a_moving_cursor_supersedes_are_not_left_unawaited(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        view = await to_queue(screen)
        await screen.until(lambda: view._shown_message.id)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            view._shown_message = replace(view._shown_message, id="")
            for _ in range(5):  # nothing runs in between, as when keys come faster than answers
                view._load_detail()
            await screen.until(lambda: view._shown_message.id)
            gc.collect()
        assert [str(each.message) for each in told if "never awaited" in str(each.message)] == []


async def test_marked_rows_only_are_changed(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_queue(screen)
        await screen.press("space", "j", "space", "D")
        await screen.shows("Drop 2 recipients of 2 messages?")
        await screen.press("y")
        await screen.until(lambda: screen.daemon.data.gone == {0, 2})
        await screen.shows_not("2 marked")


async def test_a_range_is_marked_from_the_last_mark(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        view = await to_queue(screen)
        await screen.press("space", "j", "j", "V")
        await screen.shows("4 marked")
        assert len(view.rows.marks) == 4
        await screen.press("escape")
        await screen.shows_not("marked")


@pytest.mark.parametrize(("typed", "gone"), [("311", 0), ("", 0), ("312", 312)])
async def test_dropping_many_wants_the_count_typed(tmp_path: Path, typed: str, gone: int) -> None:
    async with console(tmp_path, Data(312)) as screen:
        await to_queue(screen)
        await screen.press("*", "D")
        await screen.shows("Type 312 to drop them")
        await screen.type(typed)
        await screen.press("enter")
        await screen.shows("Not dropped" if not gone else "Dropped 312 recipients")
        assert len(screen.daemon.data.gone) == gone


async def test_cursor_stays_with_its_row_when_rows_before_it_leave(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        view = await to_queue(screen)
        await screen.press("j", "j", "j")
        screen.daemon.data.gone.update({0, 1})
        screen.daemon.push()
        await screen.shows("2 gone, . to show")
        assert view.rows.cursor == 3
        await screen.press(".")
        await screen.until(lambda: view.rows.total == 12)
        assert view.rows.row is not None
        assert view.rows.row.id == "4XK000003"
        assert view.rows.cursor == 1


async def test_new_rows_are_counted_and_wait(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        view = await to_queue(screen)
        before = screen.lines()[5:19]
        screen.daemon.data.size = 26
        screen.daemon.push()
        await screen.shows("+12 new, . to show")
        assert screen.lines()[5:19] == before
        await screen.press(".")
        await screen.until(lambda: view.rows.total == 26)
        await screen.shows_not("new, . to show")


async def test_values_change_in_place(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_queue(screen)
        screen.daemon.data.changed[1] = {
            "state": "active",
            "next_at": iso(NOW),
            "last": "connecting to mx9",
            "code": None,
        }
        screen.daemon.push()
        await screen.until(lambda: "SEND" in screen.lines()[6] and "connecting" in screen.lines()[6])


async def test_filter_goes_to_the_daemon_and_esc_shows_all(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_queue(screen)
        await screen.press("/")
        await screen.type("domain:gmail.com")
        await screen.press("enter")
        await screen.shows("3 of 14 waiting match. esc shows all")
        await screen.press("/")
        await screen.press("ctrl+u")
        await screen.type("foo[bar]")
        await screen.press("enter")
        await screen.shows("0 of 14 match 'foo[bar]' - esc shows all")
        await screen.press("escape")
        await screen.shows("14 waiting")
        await screen.press("/")
        await screen.type("state:what")
        await screen.press("enter")
        await screen.shows("state: is deferred, active, held or quarantined.")


def test_filter_words_become_the_daemons_fields() -> None:
    assert parse_filter("from:a to:b domain:c state:HOLD older:2h id:X,Y some words") == {
        "from": "a", "to": "b", "domain": "c", "state": "held", "older_than_seconds": 7200, "ids": ["X", "Y"], "text": "some words",
    }  # fmt: skip
    assert parse_filter("  ") == {}
    assert parse_filter("submitter:a@b state:quar") == {"submitter": "a@b", "state": "quarantined"}
    for wrong in ("state:x", "older:x", "from:", "!x", "~y"):
        with pytest.raises(ValueError, match=r"\.$"):
            parse_filter(wrong)


async def test_sort_and_problems_are_done_by_the_daemon(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_queue(screen)
        await screen.press("s", "S", "P")
        await screen.shows("sort: age reversed")
        await screen.until(lambda: called(screen, "queue.list")[-1]["sort"] == "age")
        last = called(screen, "queue.list")[-1]
        assert (last["reverse"], last["filter"]) == (True, {"state": "deferred"})


async def test_a_hundred_thousand_rows_hold_three_pages(tmp_path: Path) -> None:
    async with console(tmp_path, Data(100_000)) as screen:
        view = await to_queue(screen)
        await screen.press("G")
        await screen.shows("99999.")
        for _ in range(30):
            await screen.press("pageup")
        await screen.press("g")
        await screen.shows("4XK000000" if screen.app.size.width > 100 else "joe@example.net")
        await screen.until(lambda: view.rows.row is not None)
        assert len(view.rows._pages) <= 3
        assert all(int(str(call.get("limit"))) <= 500 for call in called(screen, "queue.list"))


async def test_message_page_acts_on_all_its_recipients_and_survives_their_leaving(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_queue(screen)
        await screen.press("enter")
        await screen.shows("RECIPIENTS")
        await screen.press("D")
        await screen.shows("Drop 1 recipient of 1 message?")
        await screen.press("y")
        await screen.shows("There is no such message in the queue.")
        await screen.shows("BEFORE THAT")
        await screen.press("r")
        await screen.shows("Not possible: it has left the queue.")
        await screen.press("enter")
        await screen.shows("LAST ANSWER")


async def test_text_is_found_on_a_page_by_n_and_N(tmp_path: Path) -> None:
    async with console(tmp_path, size=(80, 16)) as screen:
        await to_queue(screen)
        await screen.press("enter")
        await screen.shows("RECIPIENTS")
        await screen.press("n")
        await screen.shows("Nothing is looked for yet")
        await screen.press("/")
        await screen.type("JOE@")
        await screen.press("enter")
        await screen.shows("1 of ")
        first = screen.app.view._found_at  # type: ignore[attr-defined]
        await screen.press("n")
        await screen.shows("2 of ")
        await screen.press("N")
        assert screen.app.view._found_at == first  # type: ignore[attr-defined]
        await screen.press("/", "ctrl+u")
        await screen.type("[/foo]")
        await screen.press("enter")
        await screen.shows("'[/foo]' is not on this page")
        await screen.press("escape")
        await screen.shows("RECIPIENTS")
        await screen.press("escape")
        await screen.shows("LAST ANSWER")


def test_a_match_is_marked_across_spans() -> None:
    line = (("one Tw", "text"), ("o three two", "dim"))
    assert marked(line, "two") == (
        ("one ", "text"),
        ("Tw", "match"),
        ("o", "match"),
        (" three ", "dim"),
        ("two", "match"),
    )
    assert marked(line, "four") == line


async def test_what_is_being_delivered_is_said_to_be(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_queue(screen)
        screen.daemon.data.busy = 1
        await screen.press("r")
        await screen.shows("Nothing to retry: it is being delivered right now.")


@pytest.mark.parametrize("kind", ["csv", "json", "txt"])
async def test_export_writes_the_filtered_view_for_its_owner_only(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    data = Data(1_203)
    data.changed[0] = {"from": "=cmd|'/c calc'!A1", "last": "x\x1b[2J"}
    async with console(tmp_path, data) as screen:
        await to_queue(screen)
        await screen.press("o")
        await screen.shows("c csv")
        await screen.press(kind[0])
        await screen.shows("Wrote 1,203 rows to")
    (path,) = tmp_path.glob("mailbox-queue-*")  # noqa: ASYNC240
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text(encoding="utf-8")
    assert "\x1b" not in text
    if kind == "csv":
        rows = list(csv.DictReader(text.splitlines()))
        assert len(rows) == 1_203
        assert rows[0]["from"] == "'=cmd|'/c calc'!A1"
    elif kind == "json":
        assert json.loads(text.splitlines()[0])["id"] == "4XK000000"


async def test_copying_never_claims_success(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_queue(screen)
        await screen.press("y")
        await screen.shows("Offered")
        assert "copied" not in screen.text().lower()


async def test_the_menu_of_a_row_names_the_reason_when_something_is_impossible(tmp_path: Path) -> None:
    async with console(tmp_path, read_only=True) as screen:
        await to_queue(screen)
        await screen.press("m")
        await screen.shows("not now: This console was opened read-only")
        await screen.press("escape", "D")
        await screen.shows("opened read-only")
        assert "queue.plan" not in screen.methods()
