"""A screen around one windowed list: moving, copying, exporting and filtering are the same everywhere."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from textual.app import ComposeResult

from tui.desk import Desk
from tui.format import count
from tui.screens.menu import MenuPage
from tui.screens.view import View
from tui.terminal import copy_message, osc52
from tui.theme import Span
from tui.widgets.lines import LineView
from tui.widgets.prompt_row import Entry
from tui.widgets.window_list import Keyed, WindowList

RowT = TypeVar("RowT", bound=Keyed)


class FilterParser(Protocol):
    """Turns typed words into the daemon's filter; raises ValueError with a sentence."""

    def __call__(self, text: str) -> dict[str, Any]:
        """The filter."""


class ListView(View, Generic[RowT]):
    """Subclasses make `rows`, draw around it, and say what a record looks like as text."""

    PARSE: ClassVar[FilterParser]

    rows: WindowList[RowT]

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.filter_text = ""
        self.filter: dict[str, Any] = {}
        self._filters: list[str] = []

    def filter_changed(self) -> None:
        """Fetch with the new filter."""

    def record_text(self) -> str:
        """The row under the cursor, for the clipboard."""
        return ""

    def block_text(self) -> str:
        """The rows on the screen, for the clipboard."""
        return ""

    def plain_text(self) -> str:
        """What stands on the screen."""
        return self.block_text()

    def tick(self, now: datetime) -> None:
        """Ages."""
        self.rows.tick()

    def set_filter(self, text: str) -> None:
        """Apply a typed filter, or say what is wrong with it."""
        try:
            self.filter = type(self).PARSE(text)
        except ValueError as error:
            self.desk.prompt.say(str(error), "bad")
            return
        self.filter_text = " ".join(text.split())
        self.filter_changed()
        self.desk.shell.redraw_frame()

    def do_list_filter(self) -> None:
        """Type a filter."""
        self.desk.prompt.read(Entry("filter", submit=self.set_filter, text=self.filter_text, history=self._filters))

    def do_list_menu(self) -> None:
        """What can be done with the row."""
        scopes = [
            scope
            for scope in self.SCOPES
            if scope not in {"find", "list", "sort", "problems", "pane", "mark", "move", "any"}
        ]
        self.desk.shell.open_page(MenuPage(self.desk, "actions", self.desk.keys.within(scopes), self))

    def do_copy_record(self) -> None:
        """The row under the cursor as text."""
        self._copy(self.record_text())

    def do_copy_block(self) -> None:
        """The rows on the screen as text."""
        self._copy(self.block_text())

    def _copy(self, text: str) -> None:
        self.desk.prompt.say(copy_message(text))
        self.desk.shell.write_terminal(osc52(text))

    def do_move_down(self) -> None:
        """Next row."""
        self.rows.move(1)

    def do_move_up(self) -> None:
        """Row before."""
        self.rows.move(-1)

    def do_move_first(self) -> None:
        """First row."""
        self.rows.go(0)

    def do_move_last(self) -> None:
        """Last row."""
        self.rows.go((self.rows.total or 1) - 1)

    def do_move_page_down(self) -> None:
        """A screen down."""
        self.rows.page(1)

    def do_move_page_up(self) -> None:
        """A screen up."""
        self.rows.page(-1)


class SummaryPage(ListView[RowT]):
    """A summary above the list, drawn by `draw`; the list is fetched anew on demand. Subclasses make `_summary` too."""

    _summary: LineView

    def compose(self) -> ComposeResult:
        """Summary and list."""
        yield self._summary
        yield self.rows

    def shown(self) -> None:
        """First look, or back from somewhere."""
        self.rows.reload()
        self.draw()

    def resync(self) -> None:
        """Fetch again, cursor kept."""
        self.rows.reload()

    def filter_changed(self) -> None:
        """Fetch with the new filter."""
        self.rows.reload(keep=False)

    def do_list_show_new(self) -> None:
        """Fetch again."""
        self.rows.reload()

    def escape(self) -> bool:
        """The filter."""
        if not self.filter:
            return False
        self.set_filter("")
        return True

    def set_stale(self, stale: bool) -> None:
        """Grey the page."""
        self._summary.set_stale(stale)
        self.rows.set_stale(stale)

    def draw(self) -> None:
        """What the summary says now."""
        raise NotImplementedError


class MarkedListView(ListView[RowT]):
    """A list whose rows can be marked; an action works on the marked ones, on all listed, or on the one under the cursor."""

    def draw(self) -> None:
        """Everything around the list."""

    def marks_told(self) -> list[Span]:
        """How many are marked, for the line above the list."""
        if self.rows.all_marked:
            return [(f" All {count(self.rows.total)} listed are marked.", "mark")]
        return [(f" {count(len(self.rows.marks))} marked.", "mark")] if self.rows.marks else []

    def unmark(self) -> bool:
        """Take all marks back; False when there were none."""
        if not (self.rows.marks or self.rows.all_marked):
            return False
        self.rows.clear_marks()
        self.draw()
        return True

    def do_list_mark(self) -> None:
        """Mark the row."""
        self.rows.toggle_mark()
        self.draw()

    def do_list_mark_range(self) -> None:
        """Mark up to here."""
        if not self.rows.mark_range():
            self.desk.prompt.say("Rows that are not loaded were not marked; * marks all listed.", "warn")
        self.draw()

    def do_list_mark_all(self) -> None:
        """Mark everything listed."""
        if self.rows.total:
            self.rows.mark_all()
            self.desk.prompt.say(
                f"All {count(self.rows.total)} listed are marked; what joins them later is not touched. esc unmarks."
            )
            self.draw()
