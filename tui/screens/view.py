"""The base of all screens and pages: what the frame asks of them, with quiet defaults."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import ClassVar

from textual.app import ComposeResult
from textual.widget import Widget

from tui.desk import Desk
from tui.feeds import Want
from tui.format import clean
from tui.keys import Action
from tui.theme import Line, Span
from tui.widgets.lines import BLANK, LineView
from tui.widgets.prompt_row import Entry


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

    def hints(self) -> Sequence[str]:
        """Action ids for the last row now."""
        return self.HINTS

    def plain_text(self) -> str:
        """What `v` shows outside the full screen; "" when there is nothing."""
        return ""

    def command_line(self) -> str:
        """The command line of what is under the cursor; "": that of the view's actions with `command_ids`."""
        return ""

    def command_ids(self) -> str:
        """The selected ids, for the command line that does the same."""
        return ""


class PageView(View):
    """A page of lines that scrolls. Subclasses give `content()`; j, k, g, G, paging and finding text work."""

    SCOPES: ClassVar[Sequence[str]] = ("find", "text", "move", "any")

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._lines = LineView(desk.palette)
        self._lines.styles.height = "1fr"
        self._top = 0
        self._found = ""
        self._found_at = -1
        self._sought: list[str] = []

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
        self._lines.set_lines([marked(line, self._found) for line in shown] if self._found else shown)

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

    def do_list_filter(self) -> None:
        """Find a text on the page."""
        self.desk.prompt.read(Entry("find", submit=self._find, text=self._found, history=self._sought))

    def _find(self, text: str) -> None:
        self._found, self._found_at = text.strip(), self._top - 1
        if self._found:
            self._find_on(1)
        else:
            self.redraw()

    def do_find_next(self) -> None:
        """The next line with the text, from the start again after the last."""
        self._find_on(1)

    def do_find_previous(self) -> None:
        """The line before with the text."""
        self._find_on(-1)

    def _find_on(self, step: int) -> None:
        prompt = self.desk.prompt
        if not self._found:
            prompt.say("Nothing is looked for yet, / does it.", "dim")
            return
        wanted = self._found.lower()
        hits = [number for number, line in enumerate(self.content()) if wanted in text_of(line).lower()]
        if not hits:
            prompt.say(f"{self._found!r} is not on this page.", "warn")
        else:
            beyond = [hit for hit in hits[::step] if (hit - self._found_at) * step > 0]
            self._found_at = beyond[0] if beyond else hits[::step][0]
            prompt.say(f"{hits.index(self._found_at) + 1} of {len(hits)} lines with {self._found!r}; n next, N before.")
            if not self._top <= self._found_at < self._top + max(1, self.size.height - 1):
                self._top = self._found_at - self.size.height // 3
        self.redraw()

    def escape(self) -> bool:
        """First the marks of what was found."""
        if not self._found:
            return False
        self._found = ""
        self.redraw()
        return True

    def plain_text(self) -> str:
        """The whole page."""
        return self.as_text()

    def as_text(self) -> str:
        """The whole page as text, for copying."""
        return "\n".join(text_of(line).rstrip() for line in self.content()) + "\n"


def text_of(line: Line) -> str:
    """The words of a line."""
    return "".join(clean(text) for text, _ in line)


def marked(line: Line, wanted: str) -> Line:
    """The line with each occurrence of a text in the colour of a match; it may stand across spans."""
    whole = text_of(line).lower()
    wanted = wanted.lower()
    # Lower case may be longer than the text itself for a few letters; then nothing is marked rather than something wrong.
    if wanted not in whole or len(whole) != sum(len(text) for text, _ in line):
        return line
    hits: set[int] = set()
    at = whole.find(wanted)
    while at >= 0:
        hits.update(range(at, at + len(wanted)))
        at = whole.find(wanted, at + len(wanted))
    spans: list[Span] = []
    position = 0
    for text, role in line:
        for matched, letters in groupby(enumerate(text, position), lambda each: each[0] in hits):
            spans.append(("".join(letter for _, letter in letters), "match" if matched else role))
        position += len(text)
    return tuple(spans)


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
