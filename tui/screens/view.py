"""The base of all screens and pages: what the frame asks of them, with quiet defaults."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from textual.app import ComposeResult
from textual.widget import Widget

from tui.desk import Desk
from tui.feeds import Want
from tui.format import clean
from tui.keys import Action
from tui.theme import Line
from tui.widgets.lines import BLANK, LineView


class View(Widget):
    """One thing the body shows. The frame calls these; actions call `do_<action id>`."""

    DEFAULT_CSS = "View { layout: vertical; width: 1fr; height: 1fr; }"

    NAME: ClassVar[str] = ""
    TITLE: ClassVar[str] = ""
    DIGIT: ClassVar[str] = ""
    SCOPES: ClassVar[Sequence[str]] = ("any",)
    HINTS: ClassVar[Sequence[str]] = ()
    """Action ids for the last row, the most useful first."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(id=f"view-{self.NAME}" if self.DIGIT else None)
        self.desk = desk

    def wants(self) -> Sequence[Want]:
        """Topics to follow while visible."""
        return ()

    def shown(self) -> None:
        """It became visible, or the connection came back."""

    def health_changed(self) -> None:
        """`desk.health` has news."""

    def tick(self, now: datetime) -> None:
        """Once a second while visible: ages and clocks."""

    def set_stale(self, stale: bool) -> None:
        """Grey everything that may be outdated."""

    def crumb(self) -> tuple[str, str]:
        """What follows the title in the second row, and what stands at its right end."""
        return "", ""

    def resync(self) -> None:
        """Ask the daemon for everything again."""

    def escape(self) -> bool:
        """Close marks, filter or detail; False when there was nothing to close."""
        return False

    def refuse(self, action: Action) -> str:
        """Why an action is not possible on the current row; "" when it is."""
        return ""

    def command_ids(self) -> str:
        """The selected ids, for the command line that does the same."""
        return ""


class PageView(View):
    """A page of lines that scrolls. Subclasses give `content()`; j, k, g, G and paging work."""

    SCOPES: ClassVar[Sequence[str]] = ("move", "any")

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._lines = LineView(desk.palette)
        self._lines.styles.height = "1fr"
        self._top = 0

    def compose(self) -> ComposeResult:
        """One widget of lines."""
        yield self._lines

    def content(self) -> Sequence[Line]:
        """All lines of the page."""
        return ()

    def redraw(self) -> None:
        """Show the content from the current top line."""
        lines = self.content()
        room = max(1, self.size.height)
        self._top = min(max(0, self._top), max(0, len(lines) - room))
        shown = list(lines[self._top : self._top + room])
        below = len(lines) - self._top - room
        if below > 0 and shown:
            shown[-1] = ((f"   {below + 1} more lines below", "faint"),)
        self._lines.set_lines(shown)

    def on_resize(self) -> None:
        """The content follows the size."""
        self.redraw()

    def tick(self, now: datetime) -> None:
        """Ages on the page."""
        self.redraw()

    def set_stale(self, stale: bool) -> None:
        """Grey the page."""
        self._lines.set_stale(stale)

    def scroll_lines(self, step: int) -> None:
        """Scroll by lines."""
        self._top += step
        self.redraw()

    def do_move_down(self) -> None:
        """One line on."""
        self.scroll_lines(1)

    def do_move_up(self) -> None:
        """One line back."""
        self.scroll_lines(-1)

    def do_move_first(self) -> None:
        """To the top."""
        self.scroll_lines(-1_000_000)

    def do_move_last(self) -> None:
        """To the end."""
        self.scroll_lines(1_000_000)

    def do_move_page_down(self) -> None:
        """One screen on."""
        self.scroll_lines(max(1, self.size.height - 1))

    def do_move_page_up(self) -> None:
        """One screen back."""
        self.scroll_lines(-max(1, self.size.height - 1))

    def as_text(self) -> str:
        """The whole page as text, for copying."""
        return "\n".join("".join(clean(text) for text, _ in line).rstrip() for line in self.content()) + "\n"


def facts(pairs: Sequence[tuple[str, str]], width: int = 9) -> list[Line]:
    """Name and value lines; empty values are left out."""
    return [((f" {name:<{width}} ", "dim"), (value, "text")) for name, value in pairs if value]


def heading(title: str, note: str = "") -> Line:
    """A section's first line."""
    return ((f" {title}", "head"), (f"  {note}" if note else "", "faint"))


def wrapped(text: str, width: int, role: str = "text", indent: int = 1) -> list[Line]:
    """A sentence over as many lines as it needs."""
    lines: list[Line] = []
    current = ""
    room = max(10, width - indent - 1)
    for word in clean(text).split():
        if current and len(current) + 1 + len(word) > room:
            lines.append(((" " * indent + current, role),))
            current = word
        else:
            current = f"{current} {word}".strip()
    lines.append(((" " * indent + current, role),) if current else BLANK)
    return lines
