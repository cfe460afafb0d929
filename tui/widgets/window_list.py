"""A list of any length of which only a window is held: rows come in pages from the daemon, three at most are kept.

The cursor stays with its row (by key) over reloads; a cursor move repaints two rows. Rows never move by themselves: values are
updated in place, what is new waits until `reload` is asked for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Generic, Literal, Protocol, TypeVar

from textual import events
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from tui.format import fit
from tui.theme import Line, Palette
from tui.widgets.lines import BLANK, changed_cells, strip_of
from tui.workers import begin

PAGE_ROWS = 100
PAGES_HELD = 3
GUTTER = 3


class Keyed(Protocol):
    """A row that can be told from others."""

    @property
    def key(self) -> Hashable:
        """Its identity."""


RowT = TypeVar("RowT", bound=Keyed)


@dataclass(frozen=True, slots=True)
class Column(Generic[RowT]):
    """One column: `width` 0 takes what is left over; `cell` gives text and role."""

    title: str
    width: int
    cell: Callable[[RowT, datetime], tuple[str, str]]
    align: Literal["left", "right"] = "left"


@dataclass(frozen=True, slots=True)
class Page(Generic[RowT]):
    """Some rows and how many there are in all."""

    total: int
    rows: Sequence[RowT]


class WindowList(Widget, Generic[RowT]):
    """The list widget; the view gives columns by width, a fetch function, and callbacks."""

    DEFAULT_CSS = "WindowList { width: 1fr; height: 1fr; }"

    def __init__(
        self,
        palette: Palette,
        *,
        columns: Callable[[int], Sequence[Column[RowT]]],
        fetch: Callable[[int, int], Awaitable[Page[RowT] | None]],
        now: Callable[[], datetime],
        empty: Callable[[], Sequence[Line]],
        on_move: Callable[[], None],
        id: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(id=id)
        self._palette = palette
        self._columns_for = columns
        self._fetch = fetch
        self._now = now
        self._empty = empty
        self._on_move = on_move
        self._columns: Sequence[Column[RowT]] = ()
        self._columns_width = 0
        self._pages: dict[int, Sequence[RowT]] = {}
        self._wanted: set[int] = set()
        self._generation = 0
        self._painted: dict[int, tuple[Line, bool]] = {}
        self._stale = False
        self.total: int | None = None
        """How many rows there are; None before the first answer."""
        self.cursor = 0
        self.top = 0
        self.marks: dict[Hashable, RowT] = {}
        self.all_marked = False
        """Every row of the filter is marked, also those never fetched."""
        self._anchor: int | None = None

    # What is known

    @property
    def room(self) -> int:
        """Rows that fit below the header."""
        return max(1, self.size.height - 1)

    def row_at(self, index: int) -> RowT | None:
        """The row at a position, when it is held."""
        page = self._pages.get(index // PAGE_ROWS)
        offset = index % PAGE_ROWS
        return page[offset] if page is not None and offset < len(page) else None

    @property
    def row(self) -> RowT | None:
        """The row under the cursor."""
        return self.row_at(self.cursor)

    def rows_shown(self) -> list[RowT]:
        """The rows on the screen that are held."""
        found = (self.row_at(index) for index in range(self.top, self.top + self.room))
        return [row for row in found if row is not None]

    def chosen(self) -> list[RowT]:
        """What an action works on: the marked rows, else the one under the cursor."""
        if self.marks:
            return list(self.marks.values())
        return [] if self.row is None else [self.row]

    # Moving

    def move(self, step: int) -> None:
        """Move the cursor by rows."""
        self.go(self.cursor + step)

    def go(self, index: int) -> None:
        """Put the cursor on a position; scrolls half a screen when it leaves the window, so that a walk repaints rarely."""
        target = min(max(0, index), max(0, (self.total or 0) - 1))
        if target == self.cursor:
            return
        old, self.cursor = self.cursor, target
        if not self.top <= target < self.top + self.room:
            step = abs(target - old)
            lead = self.room // 2 if step == 1 else 0
            top = target - self.room + 1 + lead if target > old else target - lead
            self.top = min(max(0, top), max(0, (self.total or 0) - self.room))
            self.refresh()
        else:
            self._repaint(old)
            self._repaint(target)
        self._need()
        self._on_move()

    def page(self, direction: int) -> None:
        """One screen up or down; the cursor keeps its place on the screen."""
        total = self.total or 0
        top = min(max(0, self.top + direction * self.room), max(0, total - self.room))
        if top == self.top:
            self.go(total - 1 if direction > 0 else 0)
            return
        self.cursor = min(max(0, self.cursor + top - self.top), max(0, total - 1))
        self.top = top
        self.refresh()
        self._need()
        self._on_move()

    # Marks

    def toggle_mark(self) -> None:
        """Mark or unmark the row under the cursor and go on to the next."""
        row = self.row
        if row is None:
            return
        self.clear_all_mark()
        if self.marks.pop(row.key, None) is None:
            self.marks[row.key] = row
        self._anchor = self.cursor
        self._repaint(self.cursor)
        self.move(1)

    def mark_range(self) -> bool:
        """Mark from the last marked row to the cursor; False when a row between is not held."""
        self.clear_all_mark()
        anchor = self.cursor if self._anchor is None else self._anchor
        first, last = sorted((anchor, self.cursor))
        rows = [self.row_at(index) for index in range(first, last + 1)]
        self.marks.update({row.key: row for row in rows if row is not None})
        self._anchor = self.cursor
        self.refresh()
        return None not in rows

    def mark_all(self) -> None:
        """Mark everything the filter lists."""
        self.marks.clear()
        self.all_marked = True
        self.refresh()

    def clear_all_mark(self) -> None:
        """Take back `mark_all`."""
        if self.all_marked:
            self.all_marked = False
            self.refresh()

    def clear_marks(self) -> None:
        """Unmark everything."""
        had_marks = bool(self.marks) or self.all_marked
        self.marks.clear()
        self.all_marked = False
        self._anchor = None
        if had_marks:
            self.refresh()

    # Data

    def reload(self, *, keep: bool = True) -> None:
        """Fetch what is on the screen again; the cursor stays with its row when that is still near."""
        self._generation += 1
        self._wanted.clear()
        if not keep:
            self.cursor = self.top = 0
            self.clear_marks()
        key = self.row.key if keep and self.row is not None else None
        begin(self, partial(self._load_all, self._generation, key), "reload")

    def renew(self) -> None:
        """Other rows and columns come: nothing held is shown any more."""
        self._pages.clear()
        self._columns_width = 0
        self.total = None
        self._painted.clear()
        self.refresh()

    def update_rows(self, rows: Sequence[RowT]) -> None:
        """Replace held rows that have the same key; nothing moves."""
        fresh = {row.key: row for row in rows}
        for number, page in self._pages.items():
            if any(row.key in fresh for row in page):
                self._pages[number] = [fresh.get(row.key, row) for row in page]
        for key in self.marks.keys() & fresh.keys():
            self.marks[key] = fresh[key]
        self.tick()

    def tick(self) -> None:
        """Repaint rows whose text changed, such as ages."""
        for y in tuple(self._painted):
            index = self.top + y - 1
            before, under = self._painted[y]
            if under != (index == self.cursor):
                self.refresh(Region(0, y, self.size.width, 1))
            elif cells := changed_cells(before, self._line(index), self.size.width):
                self.refresh(Region(cells[0], y, cells[1] - cells[0], 1))

    def set_stale(self, stale: bool) -> None:
        """Grey what may be outdated."""
        if stale != self._stale:
            self._stale = stale
            self.refresh()

    async def _load_all(self, generation: int, key: Hashable | None) -> None:
        """Fetch the pages on the screen, then show them at once."""
        first = self.top // PAGE_ROWS
        last = (self.top + self.room - 1) // PAGE_ROWS
        pages: dict[int, Sequence[RowT]] = {}
        total = 0
        for number in range(first, last + 1):
            page = await self._fetch(number * PAGE_ROWS, PAGE_ROWS)
            if page is None or generation != self._generation:
                return
            pages[number], total = page.rows, page.total
        had_rows = bool(self.total)
        self._pages, self.total = pages, total
        if key is not None:
            found = (
                n * PAGE_ROWS + i for n, page_rows in pages.items() for i, row in enumerate(page_rows) if row.key == key
            )
            self.cursor = next(found, self.cursor)
        self.cursor = min(self.cursor, max(0, total - 1))
        if not self.top <= self.cursor < self.top + self.room:
            self.top = max(0, self.cursor - self.room // 2)
        self.top = min(self.top, max(0, total - self.room))
        held = {row.key: row for page_rows in pages.values() for row in page_rows}
        if self.marks and len(held) >= total:
            self.marks = {mark: held[mark] for mark in self.marks if mark in held}
        if had_rows and total:  # the header stays; of the rows only what changed is sent
            self.tick()
        else:
            self.refresh()
        self._need()
        self._on_move()

    def _need(self) -> None:
        """Fetch the pages the window shows and lacks; forget the farthest ones."""
        if self.total is None:
            return
        numbers = range(self.top // PAGE_ROWS, (min(self.top + self.room, max(1, self.total)) - 1) // PAGE_ROWS + 1)
        for number in numbers:
            if number not in self._pages and number not in self._wanted:
                self._wanted.add(number)
                begin(self, partial(self._load_page, self._generation, number), "page", exclusive=False)
        middle = self.top // PAGE_ROWS
        while len(self._pages) > PAGES_HELD:
            del self._pages[max(self._pages, key=lambda held: abs(held - middle))]

    async def _load_page(self, generation: int, number: int) -> None:
        page = await self._fetch(number * PAGE_ROWS, PAGE_ROWS)
        self._wanted.discard(number)
        if page is None or generation != self._generation:
            return
        self._pages[number] = page.rows
        self._need()
        self.refresh()
        self._on_move()

    # Drawing

    def on_resize(self, event: events.Resize) -> None:
        """Columns follow the width; the cursor stays in the window."""
        if not self.top <= self.cursor < self.top + self.room:
            self.top = max(0, self.cursor - self.room + 1)
        self._painted.clear()
        self.refresh()
        self._need()
        if self.total is not None:
            self._on_move()

    def on_mouse_scroll_down(self) -> None:
        """The wheel moves the cursor, when the mouse is on."""
        self.move(3)

    def on_mouse_scroll_up(self) -> None:
        """The wheel moves the cursor, when the mouse is on."""
        self.move(-3)

    def widths(self) -> list[int]:
        """The columns' widths; what is left over is shared by those of width 0."""
        if self._columns_width != self.size.width:
            self._columns_width = self.size.width
            self._columns = self._columns_for(self.size.width)
        fixed = sum(column.width for column in self._columns) + len(self._columns) - 1 + GUTTER
        flexible = [column for column in self._columns if column.width == 0]
        left = max(0, self.size.width - fixed)
        widths = []
        for column in self._columns:
            if column.width:
                widths.append(column.width)
            else:
                share = left // max(1, len(flexible))
                widths.append(share)
                left -= share
                flexible = flexible[1:]
        return widths

    def render_line(self, y: int) -> Strip:
        """The header, a row, or the reason why there is none."""
        width = self.size.width
        if y == 0:
            return strip_of(self._header(), width, self._palette, stale=self._stale)
        if self.total == 0:
            reason = self._empty()
            line = reason[y - 2] if 2 <= y < len(reason) + 2 else BLANK
            return strip_of(line, width, self._palette, stale=self._stale)
        index = self.top + y - 1
        line, under = self._line(index), index == self.cursor
        self._painted[y] = (line, under)
        return strip_of(line, width, self._palette, cursor=under and bool(line), stale=self._stale)

    def _header(self) -> Line:
        if self.total == 0:
            return BLANK
        widths = self.widths()
        cells = [fit(column.title, width, column.align) for column, width in zip(self._columns, widths, strict=True)]
        return ((" " * GUTTER + " ".join(cells), "faint"),)

    def _line(self, index: int) -> Line:
        if self.total is None or index >= self.total:
            return BLANK
        row = self.row_at(index)
        if row is None:
            return ((" " * GUTTER + "...", "faint"),)
        marked = self.all_marked or row.key in self.marks
        pointer = ">" if index == self.cursor else " "
        spans = [(pointer, "key"), ("* " if marked else "  ", "mark")]
        now, widths = self._now(), self.widths()
        for column, width in zip(self._columns, widths, strict=True):
            text, role = column.cell(row, now)
            spans.append((fit(text, width, column.align) + " ", role))
        return tuple(spans)

    def _repaint(self, index: int) -> None:
        y = index - self.top + 1
        if 1 <= y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """The whole width; there is nothing to measure."""
        return container.width
