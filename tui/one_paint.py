"""The one Textual screen, which paints once where Textual would paint twice.

When a new layout and a repaint of everything fall together (at the start, when a page opens, when the terminal is resized), Textual
sends the changed regions and then the whole screen. On a slow line that doubles the wait, so the first of the two is left out.
"""

from __future__ import annotations

from textual.geometry import Size
from textual.screen import Screen


class OnePaintScreen(Screen[None]):
    """Holds back the regions of a layout when the whole screen follows at once."""

    def _refresh_layout(self, size: Size | None = None, scroll: bool = False) -> None:
        if self._repaint_required:
            with self.app.batch_update():
                super()._refresh_layout(size, scroll)
        else:
            super()._refresh_layout(size, scroll)
