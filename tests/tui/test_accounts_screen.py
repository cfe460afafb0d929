from pathlib import Path

import pytest

from tests.tui.console import Console, console
from tests.tui.daemon import Data
from tui.screens.account_actions import quota_bytes
from tui.screens.accounts import AccountsScreen, parse_filter


async def to_accounts(screen: Console) -> AccountsScreen:
    await screen.press("5")
    await screen.shows("anna@example.org")
    view = screen.app.view
    assert isinstance(view, AccountsScreen)
    return view


def called(screen: Console, method: str) -> list[dict[str, object]]:
    return [call["params"] for call in screen.daemon.calls if call["method"] == method]


async def test_filter_by_address_and_state_and_back(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_accounts(screen)
        await screen.shows("23 accounts. 1 is switched off.")
        await screen.press("/")
        await screen.type("state:off")
        await screen.press("enter")
        await screen.shows("1 of 23 accounts match")
        await screen.shows("off  dora@example.org")
        await screen.press("escape")
        await screen.shows("23 accounts.")
        await screen.press("/")
        await screen.type("nobody")
        await screen.press("enter")
        await screen.shows("0 of 23 accounts match 'nobody' - esc shows all")


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("state:late", "state: is active"),
        ("two words", "An address has no blanks"),
        ("domain:", "domain: needs a value"),
    ],
)
def test_a_filter_that_cannot_be_is_explained(typed: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_filter(typed)


async def test_x_switches_off_and_on_again(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_accounts(screen)
        await screen.press("x")
        await screen.shows("anna@example.org may not log in any more")
        await screen.shows(">  off  anna@example.org")
        await screen.press("x")
        await screen.shows("anna@example.org may log in again")
        await screen.shows(">  ok   anna@example.org")
        assert screen.methods().count("user.disable") == screen.methods().count("user.enable") == 1


async def test_an_account_is_suspended_after_a_question_and_comes_back(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_accounts(screen)
        await screen.press("H")
        await screen.shows("Suspend anna@example.org and hold all its mail?")
        await screen.press("n")
        await screen.shows("Cancelled, nothing was changed.")
        assert called(screen, "user.suspend") == []
        await screen.press("H", "y")
        await screen.shows("anna@example.org is suspended")
        await screen.shows(">  HELD anna@example.org")
        await screen.press("x")
        await screen.shows("what it sends is still held - H ends that")
        await screen.press("H")
        await screen.shows("Let anna@example.org send again?")
        await screen.press("y")
        await screen.shows("anna@example.org may send again, what was held goes out")
        await screen.shows(">  ok   anna@example.org")
        assert called(screen, "user.resume") == [{"address": "anna@example.org", "release": True}]


async def test_a_braked_account_says_so_on_its_page_and_its_mail_may_stay_held(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_accounts(screen)
        reason = "brake: anna@example.org wrote to 200 recipients within ten minutes, usually to 3 a day"
        screen.daemon.data.people.change({"address": "anna@example.org"}, sending="braked", held_because=reason)
        await screen.press("enter")
        await screen.shows("All that anna@example.org sends is held. H lets it send again.")
        await screen.shows("brake: anna@example.org wrote to 200 recipients")
        await screen.press("H", "k")
        await screen.shows("what was held stays held")
        assert called(screen, "user.resume") == [{"address": "anna@example.org"}]


@pytest.mark.parametrize(
    ("typed", "said", "quota"),
    [
        ("2G", "anna@example.org may use 2.0 GB", 2 * 1024**3),
        ("none", "anna@example.org has no limit now", 0),
        ("1M", "takes no new mail", 1024**2),
        ("much", "A quota is written like 500M", None),
    ],
)
async def test_a_quota_is_typed(tmp_path: Path, typed: str, said: str, quota: int | None) -> None:
    async with console(tmp_path) as screen:
        await to_accounts(screen)
        await screen.press("e")
        await screen.shows("quota of anna@example.org (now 8.0 GB):")
        await screen.type(typed)
        await screen.press("enter")
        await screen.shows(said)
        asked = [params["quota_bytes"] for params in called(screen, "user.quota")]
        assert asked == ([] if quota is None else [quota])


def test_a_quota_is_read_like_on_the_command_line() -> None:
    assert [quota_bytes(text) for text in ("500M", "1.5g", "0", " none ")] == [524_288_000, 1_610_612_736, 0, 0]


async def test_a_removed_account_comes_back_and_nothing_else_works_on_it(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_accounts(screen)
        await screen.press("u")
        await screen.shows("Not possible: it is not in the trash.")
        await screen.press("j", "j", "j", "j", "x")
        await screen.shows("Not possible: it is in the trash; u takes it back.")
        await screen.press("enter")
        await screen.shows("eva@example.org is in the trash with its mail")
        await screen.press("u")
        await screen.shows("eva@example.org is back with its mail")
        await screen.shows(">  ok   eva@example.org")


async def test_the_page_tells_and_follows_the_account(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_accounts(screen)
        await screen.press("enter")
        await screen.shows("37 messages, 5.1 MB, can come back: d")
        await screen.until(lambda: "account" in screen.daemon.topics())
        await screen.shows("Trash")
        screen.daemon.data.people.deleted = 40
        screen.daemon.data.people.passwords.append("tablet")
        screen.daemon.push()
        await screen.shows("40 messages")
        await screen.shows("tablet")
        screen.daemon.data.people.accounts = 0
        screen.daemon.push()
        await screen.shows("There is no account anna@example.org any more.")
        await screen.press("x")
        await screen.shows("Not possible: there is no account.")


async def test_an_app_password_is_void_only_after_y(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_accounts(screen)
        await screen.press("w")
        await screen.shows("3 app passwords")
        await screen.press("j", "D")
        await screen.shows("Make 'laptop' void?")
        await screen.press("n")
        await screen.shows("Cancelled, nothing was changed.")
        assert called(screen, "app_password.revoke") == []
        await screen.press("D")
        await screen.shows("y runs")
        await screen.press("y")
        await screen.shows("'laptop' is void.")
        await screen.shows("2 app passwords")
        assert called(screen, "app_password.revoke") == [{"address": "anna@example.org", "label": "laptop"}]
        screen.daemon.data.people.passwords += ["tablet", "watch"]
        await screen.until(lambda: "account" in screen.daemon.topics())
        screen.daemon.push()
        await screen.shows("tablet")


async def test_values_follow_and_new_accounts_wait_for_the_dot(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        view = await to_accounts(screen)
        await screen.until(lambda: "user.window" in screen.daemon.topics())
        people = screen.daemon.data.people
        people.changed["anna@example.org"] = {"used_bytes": 8 * 1024**3}
        people.accounts = 25
        screen.daemon.push()
        await screen.shows(">  WARN anna@example.org")
        await screen.shows("+2 since, . to show")
        assert view.rows.total == 23
        await screen.press(".")
        await screen.shows("25 accounts.")


async def test_a_hundred_thousand_accounts_open_at_both_ends(tmp_path: Path) -> None:
    async with console(tmp_path, Data(accounts=100_000)) as screen:
        await to_accounts(screen)
        await screen.press("G")
        await screen.shows("> ")
        await screen.shows("user099999@example.org")
        assert max(int(str(params["limit"])) for params in called(screen, "user.list")) <= 100


async def test_a_read_only_console_changes_no_account(tmp_path: Path) -> None:
    async with console(tmp_path, read_only=True) as screen:
        await to_accounts(screen)
        for key in ("x", "e", "u"):
            await screen.press(key)
            await screen.shows("opened read-only")
        await screen.press("d")
        await screen.shows("37 deleted messages")
        await screen.press("u")
        await screen.shows("opened read-only")
        assert "retained.plan" not in screen.methods()


async def test_the_palette_knows_the_accounts_actions(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await to_accounts(screen)
        await screen.press("ctrl+p")
        await screen.type("deleted")
        await screen.press("enter")
        await screen.shows("37 deleted messages")
        await screen.press("?")
        await screen.shows("DELETED MAIL")
        await screen.shows("Bring the marked messages or this one back; asks")


async def test_t_shows_the_log_of_the_account(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await screen.press("5")
        await screen.shows("carl@example.org")
        await screen.press("j", "t")
        await screen.shows("match 'bob@example.org'")


async def test_refused_mail_is_delivered_after_all(tmp_path: Path) -> None:
    async with console(tmp_path) as screen:
        await screen.press("5")
        await screen.shows("carl@example.org")
        await screen.press("f")
        await screen.shows("3 messages refused by the score; each for 14 days, in the mailbox Rejects.")
        await screen.press("f")
        await screen.shows("1 message put into the inbox; the classifier learns.")
        await screen.shows("2 messages refused")
        assert screen.daemon.data.door.rejects == [7, 4]
        await screen.press("space", "space", "f", "n")
        await screen.shows("Cancelled")
        screen.daemon.data.door.rejects.remove(7)
        await screen.press("f", "y")
        await screen.shows("1 message put into the inbox; 1 gone already; ")
        await screen.shows("Nothing is kept.")
        await screen.press("f")
        await screen.shows("Not possible: there is no row")
