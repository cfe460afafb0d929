"""Lines of coloured spans that repaint only the cells that changed.

Every screen is made of these: a number that changes costs its own cells on the wire, an unchanged screen costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from tui.format import clean, fit
from tui.theme import Line, Palette

BLANK: Line = ()


def strip_of(line: Line, width: int, palette: Palette, *, cursor: bool = False, stale: bool = False) -> Strip:
    """A line cut or padded to `width` cells; neighbours with the same style become one segment."""
    segments: list[Segment] = []
    left = width
    for raw, role in line:
        if left <= 0:
            break
        text = clean(raw)
        length = cell_len(text)
        if length > left:
            text, length = fit(text, left), left
        if not text:
            continue
        style = palette.style(role, cursor=cursor, stale=stale)
        previous = segments[-1] if segments else None
        if previous is not None and (
            previous.style == style or (text.isspace() and same_ground(previous.style, style))
        ):
            segments[-1] = Segment(previous.text + text, previous.style)
        elif previous is not None and previous.text.isspace() and same_ground(previous.style, style):
            segments[-1] = Segment(previous.text + text, style)
        else:
            segments.append(Segment(text, style))
        left -= length
    if left > 0:
        # The ground of a bar goes on to the edge of the screen.
        last = line[-1][1] if line else "text"
        role = last if last.startswith("title") else "text"
        style = palette.style(role, cursor=cursor, stale=stale)
        if segments and same_ground(segments[-1].style, style):
            segments[-1] = Segment(segments[-1].text + " " * left, segments[-1].style)
        else:
            segments.append(Segment(" " * left, style))
    return Strip(segments, width)


def same_ground(one: Style | None, other: Style | None) -> bool:
    """Blanks look the same in both styles; joining them saves an escape sequence of some forty bytes."""
    if one is None or other is None:
        return False
    return one.bgcolor == other.bgcolor and one.reverse == other.reverse and not one.underline and not other.underline


def changed_cells(old: Line, new: Line, width: int) -> tuple[int, int] | None:
    """The first and the last-but-one column in which two lines differ; None when they are equal."""
    if old == new:
        return None
    start = 0
    shortest = min(len(old), len(new))
    index = 0
    while index < shortest and old[index] == new[index]:
        start += cell_len(old[index][0])
        index += 1
    if len(old) != len(new) or sum(cell_len(text) for text, _ in old) != sum(cell_len(text) for text, _ in new):
        return min(start, width), width
    end = sum(cell_len(text) for text, _ in old)
    back = len(old) - 1
    while back > index and old[back] == new[back]:
        end -= cell_len(old[back][0])
        back -= 1
    return min(start, width), min(end, width)


class LineView(Widget):
    """Shows lines; `set_lines` repaints only what differs."""

    DEFAULT_CSS = "LineView { height: 1; width: 1fr; }"

    def __init__(self, palette: Palette, *, id: str | None = None, height: int | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._palette = palette
        self._lines: list[Line] = []
        self._stale = False
        if height is not None:
            self.styles.height = height

    @property
    def lines(self) -> Sequence[Line]:
        """What is shown now."""
        return self._lines

    def set_lines(self, lines: Sequence[Line]) -> None:
        """Show these lines instead."""
        old, self._lines = self._lines, list(lines)
        width, height = self.size
        regions = []
        for y in range(min(height, max(len(old), len(self._lines)))):
            before = old[y] if y < len(old) else BLANK
            after = self._lines[y] if y < len(self._lines) else BLANK
            if cells := changed_cells(before, after, width):
                regions.append(Region(cells[0], y, max(1, cells[1] - cells[0]), 1))
        if regions:
            self.refresh(*regions)

    def set_stale(self, stale: bool) -> None:
        """Grey what may be outdated."""
        if stale != self._stale:
            self._stale = stale
            self.refresh()

    def set_height(self, rows: int) -> None:
        """Change the number of rows; 0 hides the widget."""
        self.display = rows > 0
        if rows > 0:
            self.styles.height = rows

    def render_line(self, y: int) -> Strip:
        """One row of cells."""
        line = self._lines[y] if y < len(self._lines) else BLANK
        return strip_of(line, self.size.width, self._palette, stale=self._stale)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """The whole width; there is nothing to measure."""
        return container.width
