"""What every screen works with: the connection, the feeds, the prompt row, colours, time. Built once by the app."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from tui.client import CallError, Client
from tui.feeds import Feeds
from tui.keys import Action, KeyTable
from tui.link import Pace
from tui.models import Health
from tui.theme import Palette
from tui.widgets.prompt_row import PromptRow


class Shell(Protocol):
    """The app as screens see it."""

    def open_page(self, page: Any) -> None:
        """Put a page over the current screen."""

    def close_page(self) -> None:
        """Back to what was below."""

    def show_log(self, words: str) -> None:
        """The log with this filter."""

    def perform(self, action: Action) -> None:
        """Run an action as if its key had been pressed."""

    def redraw_frame(self) -> None:
        """Title, tabs and hints again."""

    def write_terminal(self, data: str) -> None:
        """Send an escape sequence of our own to the terminal."""


@dataclass(slots=True)
class Desk:
    """The shared objects. `health` is replaced as news comes."""

    client: Client
    feeds: Feeds
    keys: KeyTable
    palette: Palette
    prompt: PromptRow
    shell: Shell
    now: Callable[[], datetime]
    ascii_only: bool
    read_only: bool
    screens: Sequence[str]
    health: Health
    link: Pace = "fast"
    """How the line to the terminal is doing."""

    async def call(self, method: str, **params: object) -> dict[str, Any] | None:
        """Ask the daemon; a refusal is said in the prompt row and gives None."""
        try:
            return await self.client.call(method, params)
        except CallError as error:
            self.prompt.say(error.sentence(), "bad")
            return None

    def refuse_change(self) -> str:
        """Why nothing may be changed now; "" when it may."""
        if not self.client.connected:
            return "Not connected: what you see is old, so nothing is changed. R tries to connect now."
        if self.read_only:
            return "This console was opened read-only. Start it without --read-only to change things."
        if not self.client.compatible:
            return "The daemon speaks another protocol version. Restart the console."
        return ""
