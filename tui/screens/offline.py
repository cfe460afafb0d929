"""What the console shows when no daemon answered yet: what was tried, the service's state, what to do."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from tui.desk import Desk
from tui.format import clean_lines, plural
from tui.screens.view import PageView, facts, heading, wrapped
from tui.theme import Line
from tui.widgets.lines import BLANK

UNIT = "mailserver"
PROBE_SECONDS = 3.0
LOG_LINES = 15
REMEDIES = {
    "missing": "Start the daemon: `systemctl start mailserver` as a service, or `mailbox serve` by hand.",
    "refused": "The daemon ended without tidying up. Start it again: `systemctl start mailserver` or `mailbox serve`.",
    "control.not_permitted": "Run the console as root or as a member of the group mailserver-admin.",
    "timeout": "The daemon is busy or stuck. `mailbox status` and the log say more.",
}


async def probe(*command: str) -> list[str]:
    """A short command's output, off the loop, [] when it is not there or does not answer in time."""
    program = shutil.which(command[0])
    if program is None:
        return []
    process = await asyncio.create_subprocess_exec(
        program,
        *command[1:],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return []
    return clean_lines(output.decode("utf-8", "replace").strip()) if output.strip() else []


def tail(text: str, width: int) -> str:
    """The end of a text that is too long: of a path that is the telling part."""
    return text if len(text) <= width else "..." + text[len(text) - width + 3 :]


class OfflinePage(PageView):
    """Stands in the body until the first connection."""

    NAME: ClassVar[str] = "offline"
    TITLE: ClassVar[str] = "Not connected"
    HINTS: ClassVar[Sequence[str]] = ("resync", "help", "quit")

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._unit: list[str] = []
        self._log: list[str] = []
        self._looked = False

    def shown(self) -> None:
        """Look at the unit without blocking."""
        self.redraw()
        if not self._looked:
            self._looked = True
            self.run_worker(self._look(), group="unit", exclusive=True)

    async def _look(self) -> None:
        self._unit = await probe("systemctl", "is-active", UNIT)
        self._log = await probe("journalctl", "-u", UNIT, "-n", str(LOG_LINES), "-o", "short", "--no-pager", "-q")
        self.redraw()

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
