"""The last guard: no control or bidi character of any segment leaves for the terminal, whatever drew it.

Textual passes ESC through in every widget; data cleaned in the models must not be the only defence. In ASCII mode the filter
also replaces what an ASCII terminal cannot show, keeping the width of each character.
"""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from tui.format import REPLACEMENT, UNSAFE


class TerminalSafe(LineFilter):
    """Replaces unsafe characters in every segment, cell for cell."""

    def __init__(self, *, ascii_only: bool) -> None:
        super().__init__()
        self._ascii_only = ascii_only

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same segments with safe text; control segments are dropped."""
        return [self._safe(segment) for segment in segments if not segment.control]

    def _safe(self, segment: Segment) -> Segment:
        text = segment.text
        if text.isascii():
            return segment if text.isprintable() else Segment(UNSAFE.sub("?", text), segment.style)
        if self._ascii_only:
            safe = "".join(char if " " <= char <= "~" else "?" * cell_len(char) for char in text)
        else:
            safe = UNSAFE.sub(REPLACEMENT, text)
        return segment if safe == text else Segment(safe, segment.style)
