"""Text dumps of every screen at 80x24 and 120x40: golden files that can be read and diffed.

`python -m tests.tui.shots` writes them anew; look at them before committing.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.tui.console import SHOTS, Console, console
from tests.tui.daemon import Data

SIZES = ((80, 24), (120, 40))


async def home(screen: Console) -> None:
    await screen.shows("LAST")
    if screen.app.size.height > 30:
        await screen.shows("LAST CHANGES")


async def queue(screen: Console) -> None:
    await screen.press("2")
    await screen.shows("LAST ANSWER")
    await screen.shows("joe@example.net")
    await screen.press("j", "space")
    if screen.app.size.height > 30:
        await screen.shows("4XK000002  carl")
    else:
        await screen.shows("It waits because")


async def message(screen: Console) -> None:
    await queue(screen)
    await screen.press("enter")
    await screen.shows("ATTEMPTS")


async def gone(screen: Console) -> None:
    await message(screen)
    screen.daemon.data.gone.add(1)
    screen.daemon.data.gone.add(2)
    await screen.press("R")
    await screen.shows("BEFORE THAT")
    await screen.press("/")
    await screen.type("example.net")
    await screen.press("enter")


async def drop(screen: Console) -> None:
    await queue(screen)
    await screen.press("D")
    await screen.shows("Drop 1 recipient")


async def confirm(screen: Console) -> None:
    screen.daemon.data.size = 312
    await queue(screen)
    await screen.press("*", "D")
    await screen.shows("Type 312")


async def audit(screen: Console) -> None:
    await screen.press("9")
    await screen.shows("limits.max")
    await screen.press("j", "j")
    await screen.shows("+ value = 200")


async def accounts(screen: Console) -> None:
    await screen.press("5")
    await screen.shows("carl@example.org")
    await screen.press("j", "j")


async def account(screen: Console) -> None:
    await accounts(screen)
    await screen.press("g", "enter")
    await screen.shows("MAILBOXES")
    await screen.shows("can come back: d")


async def app_passwords(screen: Console) -> None:
    await accounts(screen)
    await screen.press("w")
    await screen.shows("printer")
    await screen.press("j", "D")
    await screen.shows("Make 'laptop' void?")


async def deleted(screen: Console) -> None:
    await accounts(screen)
    await screen.press("g", "d")
    await screen.shows("37 deleted messages")
    await screen.press("j", "space", "space")


async def deleted_one(screen: Console) -> None:
    await deleted(screen)
    await screen.press("enter")
    await screen.shows("flags:")


async def restore(screen: Console) -> None:
    await deleted(screen)
    await screen.press("*", "u")
    await screen.shows("y runs")


async def log(screen: Console) -> None:
    await screen.press("3")
    await screen.shows("Live: what comes")
    await screen.shows("notify@github.com")
    await screen.press("j", "j")
    await screen.shows("\n 7F3A000904" if screen.app.size.height > 30 else "mx.example> Undelivered")


async def log_problems(screen: Console) -> None:
    await screen.press("3", "P")
    await screen.shows("match 'problems'")


async def trace(screen: Console) -> None:
    await log(screen)
    await screen.press("enter")
    await screen.shows("WHO IT IS")


async def spam(screen: Console) -> None:
    await screen.press("7")
    await screen.shows("12 letters were put off")
    await screen.press("j")


async def never_delay(screen: Console) -> None:
    await spam(screen)
    await screen.press("w")
    await screen.shows("Never keep waiting")


async def exempt(screen: Console) -> None:
    await spam(screen)
    await screen.press("l")
    await screen.shows("2 exemptions")


async def bans(screen: Console) -> None:
    await exempt(screen)
    await screen.press("l")
    await screen.shows("2 networks may not connect")
    await screen.press("D")
    await screen.shows("in again?")


async def checks(screen: Console) -> None:
    await spam(screen)
    await screen.press("h", "h")
    await screen.shows("6 checks")


async def lists(screen: Console) -> None:
    await spam(screen)
    await screen.press("h")
    await screen.shows("2 DNS lists")


async def rejects(screen: Console) -> None:
    await accounts(screen)
    await screen.press("g", "f")
    await screen.shows("3 messages refused by the score")
    await screen.press("space", "space", "f")
    await screen.shows("Put 2 messages into the inbox?")


async def quiet_spam(screen: Console) -> None:
    await screen.press("7")
    await screen.shows("Nobody waits.")


async def no_log(screen: Console) -> None:
    await screen.press("3")
    await screen.shows("No mail has come")


async def help_page(screen: Console) -> None:
    await queue(screen)
    await screen.press("?")
    await screen.shows("THIS LIST")


async def palette(screen: Console) -> None:
    await queue(screen)
    await screen.press("ctrl+p")
    await screen.type("reload")
    await screen.shows("find reload")


async def left(screen: Console) -> None:
    await queue(screen)
    await screen.press("H")
    await screen.shows("gmail.com")


async def left_one(screen: Console) -> None:
    await left(screen)
    await screen.press("j", "enter")
    await screen.shows("LEFT THE QUEUE")


async def rules(screen: Console) -> None:
    await queue(screen)
    await screen.press("L")
    await screen.shows("password stolen")


async def keys(screen: Console) -> None:
    await queue(screen)
    await screen.press("K")
    await screen.shows("signing key")


async def suppressed(screen: Console) -> None:
    await queue(screen)
    await screen.press("C")
    await screen.shows("gone@far.example")


async def places(screen: Console) -> None:
    await queue(screen)
    await screen.press("B")
    await screen.shows("down.example")


async def empty(screen: Console) -> None:
    await screen.press("2")
    await screen.shows("Nothing is waiting")


SCENES: dict[str, tuple[Callable[[Console], Awaitable[None]], Callable[[], Data]]] = {
    "home": (home, Data),
    "queue": (queue, Data),
    "message": (message, Data),
    "left": (left, Data),
    "left-one": (left_one, Data),
    "rules": (rules, Data),
    "places": (places, Data),
    "keys": (keys, Data),
    "suppressed": (suppressed, Data),
    "gone": (gone, Data),
    "drop": (drop, Data),
    "confirm": (confirm, Data),
    "audit": (audit, Data),
    "accounts": (accounts, Data),
    "account": (account, Data),
    "app-passwords": (app_passwords, Data),
    "deleted": (deleted, Data),
    "deleted-one": (deleted_one, Data),
    "restore": (restore, Data),
    "log": (log, Data),
    "log-problems": (log_problems, Data),
    "log-empty": (no_log, lambda: Data(decisions=0)),
    "trace": (trace, Data),
    "rejects": (rejects, Data),
    "spam": (spam, Data),
    "spam-never-delay": (never_delay, Data),
    "spam-exempt": (exempt, Data),
    "spam-bans": (bans, Data),
    "spam-checks": (checks, Data),
    "spam-lists": (lists, Data),
    "spam-empty": (quiet_spam, lambda: Data(quiet=True)),
    "help": (help_page, Data),
    "palette": (palette, Data),
    "empty": (empty, lambda: Data(0)),
}


def name_of(scene: str, size: tuple[int, int]) -> Path:
    return SHOTS / f"{scene}-{size[0]}x{size[1]}.txt"


async def take(scene: str, size: tuple[int, int], folder: Path) -> str:
    act, data = SCENES[scene]
    async with console(folder, data(), size=size) as screen:
        await act(screen)
        await screen.pilot.pause(0.05)
        return screen.text()


async def write_all() -> None:
    for scene in SCENES:
        for size in SIZES:
            with tempfile.TemporaryDirectory() as folder:
                name_of(scene, size).write_text(await take(scene, size, Path(folder)), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(write_all())
