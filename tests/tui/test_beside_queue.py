"""The pages beside the queue: what has left, hold rules, pauses and failing hosts; and why a row waits."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.console import Console, console
from tests.tui.daemon import HOSTILE, Data
from tui.screens.queue_rules import parse_rule


async def to_queue(screen: Console) -> None:
    await screen.press("2")
    await screen.shows("joe@example.net")


def called(screen: Console, method: str) -> list[dict[str, object]]:
    return [call["params"] for call in screen.daemon.calls if call["method"] == method]


async def test_the_row_under_the_cursor_says_why_it_waits_at_every_size(tmp_path: Path) -> None:
    for size in ((80, 24), (120, 40)):
        async with console(tmp_path, size=size) as screen:
            await to_queue(screen)
            await screen.shows("It waits because mx1.example.net asked for a retry")


async def test_what_is_held_or_unreadable_shows_its_reason_instead_of_the_last_answer(tmp_path: Path) -> None:
    data = Data()
    data.changed[0] = {"state": "quarantined", "next_at": None, "reason": "its file ends early"}
    data.changed[1] = {"state": "held", "next_at": None, "reason": "by root"}
    async with console(tmp_path, data) as screen:
        await to_queue(screen)
        await screen.until(lambda: "QUAR    -" in screen.lines()[5] and "its file ends" in screen.lines()[5])
        assert "by root" in screen.lines()[6]


async def test_another_way_is_asked_for_by_name(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_queue(screen)
        await screen.press("w")
        await screen.type("backup")
        await screen.press("enter")
        await screen.shows("Reroute 1 recipient of 1 message?")
        await screen.press("y")
        await screen.until(lambda: screen.daemon.data.routed == {0: "backup"})


async def test_what_left_is_listed_filtered_and_opened(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_queue(screen)
        await screen.press("H")
        await screen.shows("30 recipients left the queue in the last 30 days.")
        await screen.shows("gmail-smtp-in.l.google.com [192.0.2.7]: 250 2.0.0 OK")
        await screen.press("enter")
        await screen.shows("It has left the queue: delivered to 0.joe@gmail.com")
        await screen.press("r")
        await screen.shows("Not possible: it has left the queue.")
        await screen.press("escape", "/")
        await screen.type("no such user")
        await screen.press("enter")
        await screen.shows("4 recipients left the queue in the last 30 days that match 'no such user'")
        await screen.press("/", "ctrl+u")
        await screen.type("state:held")
        await screen.press("enter")
        await screen.shows("has no state")
        await screen.press("!")
        await screen.shows("mailbox queue show 4XJ000003")


async def test_a_long_history_comes_in_pages(tmp_path: Path) -> None:
    data = Data()
    data.beside.left = 1_500
    async with console(tmp_path, data) as screen:
        await to_queue(screen)
        await screen.press("H")
        await screen.shows("more than")
        for last in range(199, 1_500, 100):
            await screen.press("G")
            await screen.shows(f" {last}.joe@gmail.com")
        await screen.shows("1,500 recipients left the queue")
        assert all(int(str(call["limit"])) <= 500 for call in called(screen, "queue.history"))


async def test_an_empty_queue_tells_what_went_last_and_t_shows_the_rest(tmp_path: Path) -> None:
    async with console(tmp_path, Data(0)) as screen:
        await screen.press("2")
        await screen.shows("The last one, 18:42: delivered, 0.joe@gmail.com (250).")
        await screen.press("t")
        await screen.shows("30 recipients left the queue")


async def test_a_rule_is_typed_and_may_hold_what_waits_too(tmp_path: Path) -> None:
    async with console(tmp_path, Data(quiet=True)) as screen:
        await to_queue(screen)
        await screen.press("L")
        await screen.shows("No new mail is held.")
        await screen.press("a")
        await screen.type("nothing")
        await screen.press("enter")
        await screen.shows("A rule needs from:, to: or submitter:")
        await screen.press("a")
        await screen.type("submitter:anna@example.org password stolen")
        await screen.press("enter")
        await screen.shows("Hold also what waits already and matches?")
        await screen.press("y")
        await screen.shows("1 rule holds new mail from the start.")
        assert called(screen, "queue.add_rule") == [
            {"submitter": "anna@example.org", "reason": "password stolen", "waiting": True}
        ]
        await screen.press("D")
        await screen.shows("End rule 1?")
        await screen.press("r")
        await screen.shows("No new mail is held.")
        assert called(screen, "queue.remove_rule") == [{"number": 1, "release": True}]


def test_a_rule_is_conditions_and_a_reason() -> None:
    assert parse_rule("from:a@b to:@c looks odd: see 12") == {"from": "a@b", "to": "@c", "reason": "looks odd: see 12"}
    with pytest.raises(ValueError, match="needs from:"):
        parse_rule("to: nobody")


async def test_delivery_is_paused_and_resumed(tmp_path: Path) -> None:
    async with console(tmp_path, Data(quiet=True)) as screen:
        await to_queue(screen)
        await screen.press("B")
        await screen.shows("Mail goes everywhere.")
        await screen.press("a")
        await screen.type("down.example they move")
        await screen.press("enter")
        await screen.shows("they move")
        await screen.press("a")
        await screen.type("all")
        await screen.press("enter")
        await screen.shows("Pause all delivery?")
        await screen.press("y")
        await screen.shows("All delivery is paused: mail is taken in and waits.")
        await screen.press("f")
        await screen.shows("Not possible: it is paused by an operator")
        await screen.press("g", "D")
        await screen.shows_not("(all mail)")
        assert called(screen, "queue.pause")[0] == {"domain": "down.example", "reason": "they move"}
        assert called(screen, "queue.resume") == [{"domain": ""}]


async def test_a_failing_host_is_probed_or_forgotten(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_queue(screen)
        await screen.press("B")
        await screen.shows("mx1.example.net:25")
        await screen.press("j", "f")
        await screen.shows("One message tries it now: 4XK000001")
        assert screen.daemon.data.beside.probed == ["mx1.example.net:25"]
        await screen.press("!")
        await screen.shows("mailbox breaker reset mx1.example.net:25")
        await screen.press("escape")
        await screen.press("D")
        await screen.shows("Forget the failures of mx1.example.net:25?")
        await screen.press("y")
        await screen.shows("9 waiting recipients are tried now")
        await screen.shows_not("It failed 5 times")


@pytest.mark.parametrize("key", ["H", "L", "B"])
async def test_hostile_text_and_read_only_consoles_are_safe(tmp_path: Path, key: str) -> None:
    async with console(tmp_path, Data(hostile=True), read_only=True) as screen:
        await screen.press("2")
        await screen.shows("LAST ANSWER")
        await screen.press(key)
        await screen.until(lambda: screen.app.view.NAME.startswith("queue-"))
        await screen.until(lambda: "\ufffd" in screen.text() or HOSTILE[:10] in screen.text())
        assert "\x1b" not in screen.text()
        await screen.press("a", "D")
        assert not called(screen, "queue.pause")
        assert not called(screen, "queue.remove_rule")


async def test_signing_keys_are_listed_checked_and_followed(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_queue(screen)
        await screen.press("K")
        await screen.shows("1 signing key. y copies the record to publish.")
        await screen.shows("r202611 of example.org: signs until another one takes its place.")
        await screen.press("c")
        await screen.shows("r202611: its record is not published.")
        await screen.press("a")
        await screen.shows("Prepare the keys that follow for example.org?")
        await screen.press("y")
        await screen.shows("The next keys are prepared")
        await screen.shows("prepared example.org")
        await screen.press("D", "n")
        assert called(screen, "dkim.rotate") == [{"domain": "example.org"}]
        assert called(screen, "dkim.retire") == []


async def test_suppressed_addresses_are_added_and_removed(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_queue(screen)
        await screen.press("C")
        await screen.shows("Nothing is sent to 1 address; your users hear of it at once.")
        await screen.shows("gone@far.example")
        await screen.press("a")
        await screen.type("joe@far.example asked us")
        await screen.press("enter")
        await screen.shows("Nothing is sent to joe@far.example any more")
        await screen.shows("asked us")
        await screen.press("D", "y")
        await screen.shows("Mail is sent to gone@far.example again.")
        assert called(screen, "suppression.remove") == [{"address": "gone@far.example"}]
        assert called(screen, "suppression.add") == [{"address": "joe@far.example", "reason": "asked us"}]


async def test_hostile_words_stay_words_on_the_pages_of_keys_and_addresses(tmp_path: Path) -> None:
    async with console(tmp_path, Data(hostile=True)) as screen:
        for key in ("K", "C"):
            await screen.press("2")
            await screen.shows("LAST ANSWER")
            await screen.press(key)
            await screen.shows("example")
            assert "\x1b" not in screen.text()
            await screen.press("escape")
