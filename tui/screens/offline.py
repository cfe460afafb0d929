"""What the console shows when no daemon answered yet: what was tried, the service's state, what to do."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from tui.desk import Desk
from tui.format import clean_lines, plural
from tui.keys import Action
from tui.screens.view import PageView, facts, heading, wrapped
from tui.theme import Line
from tui.widgets.lines import BLANK
from tui.workers import begin

UNIT = "mailserver"
PROBE_SECONDS = 3.0
START_SECONDS = 60.0
LOG_LINES = 15
REMEDIES = {
    "missing": "Start the daemon: `systemctl start mailserver` as a service, or `mailbox serve` by hand.",
    "refused": "The daemon ended without tidying up. Start it again: `systemctl start mailserver` or `mailbox serve`.",
    "control.not_permitted": "Run the console as root or as a member of the group mailserver-admin.",
    "timeout": "The daemon is busy or stuck. `mailbox status` and the log say more.",
}


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended: its status, None when it is not there or took too long, and what it wrote."""

    status: int | None
    lines: Sequence[str] = ()


async def ran(*command: str, seconds: float = PROBE_SECONDS, errors: bool = False) -> Ran:
    """Run a short command off the loop; `errors` takes what it writes to stderr as well."""
    program = shutil.which(command[0])
    if program is None:
        return Ran(None)
    process = await asyncio.create_subprocess_exec(
        program,
        *command[1:],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT if errors else asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return Ran(None)
    text = output.decode("utf-8", "replace").strip()
    return Ran(process.returncode, clean_lines(text) if text else ())


def tail(text: str, width: int) -> str:
    """The end of a text that is too long: of a path that is the telling part."""
    return text if len(text) <= width else "..." + text[len(text) - width + 3 :]


class OfflinePage(PageView):
    """Stands in the body until the first connection."""

    NAME: ClassVar[str] = "offline"
    TITLE: ClassVar[str] = "Not connected"
    SCOPES: ClassVar[Sequence[str]] = ("offline", "find", "text", "move", "any")
    HINTS: ClassVar[Sequence[str]] = ("resync", "help", "plain", "quit")

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._unit: Sequence[str] = ()
        self._log: Sequence[str] = ()
        self._installed = False
        self._starting = False
        self._looked = False

    def hints(self) -> Sequence[str]:
        """Starting is offered where it can work."""
        return ("unit.start", *self.HINTS) if self._installed and not self.desk.read_only else self.HINTS

    def shown(self) -> None:
        """Look at the unit without blocking."""
        self.redraw()
        if not self._looked:
            self._looked = True
            begin(self, self._look, "unit")

    async def _look(self) -> None:
        listed = await ran("systemctl", "list-unit-files", f"{UNIT}.service", "--no-legend")
        self._installed = listed.status == 0 and bool(listed.lines)
        if self._installed:
            self._unit = (await ran("systemctl", "is-active", UNIT)).lines
            log = await ran("journalctl", "-u", UNIT, "-n", str(LOG_LINES), "-o", "short", "--no-pager", "-q")
            self._log = log.lines
        self.redraw()
        self.desk.shell.redraw_frame()

    def refuse(self, action: Action) -> str:
        """The service can be started where systemd knows it."""
        if action.id != "unit.start":
            return ""
        if self.desk.read_only:
            return "this console was opened read-only"
        if not self._installed:
            return f"systemd has no unit {UNIT} here; `mailbox serve` starts the daemon by hand"
        return "it is being started" if self._starting else ""

    def do_unit_start(self) -> None:
        """Start the service; the page goes away when the daemon answers."""
        self._starting = True
        self.desk.prompt.say(f"Starting {UNIT} ...", "dim")
        begin(self, self._start, "start")

    async def _start(self) -> None:
        done = await ran(
            "systemctl", "start", "--no-ask-password", f"{UNIT}.service", seconds=START_SECONDS, errors=True
        )
        self._starting = False
        if done.status == 0:
            self.desk.prompt.say(f"{UNIT} was started.", "ok")
            self.desk.client.retry_now()
        elif done.status is None:
            self.desk.prompt.say(f"{UNIT} did not start within {START_SECONDS:.0f} s; the log says more.", "bad")
        else:
            self.desk.prompt.say(" ".join(done.lines) or f"{UNIT} did not start; the log says more.", "bad")
        await self._look()

    def tick(self, now: datetime) -> None:
        """The countdown."""
        self.redraw()

    def content(self) -> Sequence[Line]:
        """What was tried and what helps."""
        client, width = self.desk.client, self.size.width
        wait = max(0, round((client.retry_at or time.monotonic()) - time.monotonic()))
        lines: list[Line] = [
            ((" The daemon does not answer, so there is nothing to show yet.", "warn"),),
            BLANK,
            *facts(
                (
                    ("tried", tail(client.path, width - 12)),
                    ("found", client.error),
                    ("tries", f"{plural(client.attempts, 'time')}, next {'now' if wait == 0 else f'in {wait} s'}"),
                    ("unit", f"{UNIT}: {self._unit[0]}" if self._unit else ""),
                )
            ),
            BLANK,
            heading("WHAT TO DO"),
            *wrapped(
                REMEDIES.get(client.error_code, "Look at the daemon's log; start it with `mailbox serve`."),
                width,
                indent=3,
            ),
            *wrapped("This screen goes away by itself as soon as the daemon answers.", width, "dim", indent=3),
            BLANK,
        ]
        if self._log:
            lines += [heading("LAST LOG LINES"), *(((f"   {text}", "dim"),) for text in self._log)]
        return lines
