"""Whether somebody watches this terminal, and over what line: live data is for eyes that are there and a line that keeps up.

Without focus, or when the line is stuck, the visible screen's topics stop; a slow line gets half the rate. The title row says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from tui.desk import Desk
from tui.link import QUESTION, SLOW_HZ, Link

ASK_SECONDS = 5.0
NO_FOCUS = "no focus"
SLOW_LINK = "slow link"


class Attention:
    """Keeps the feeds in step with the terminal."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._link = Link()
        self._elsewhere = False

    def ask(self) -> None:
        """Send the question whose answer times the line."""
        if not self._elsewhere and self._link.asking(monotonic()):
            self._desk.shell.write_terminal(QUESTION)

    def answered(self) -> None:
        """The terminal answered."""
        self._link.answered(monotonic())
        self.judge()

    def judge(self) -> None:
        """A slow line gets less, a stuck one nothing until it moves again."""
        desk, pace = self._desk, self._link.pace(monotonic())
        if pace == desk.link:
            return
        desk.link = pace
        desk.feeds.limit(float("inf") if pace == "fast" else SLOW_HZ)
        if pace == "stuck":
            desk.feeds.stop(SLOW_LINK)
        else:
            desk.feeds.resume(SLOW_LINK)
        desk.shell.redraw_frame()

    def leave(self) -> None:
        """Nobody types here: only the title row stays live."""
        self._desk.feeds.stop(NO_FOCUS)
        self._desk.shell.redraw_frame()

    def come(self) -> None:
        """Live again, from the present state."""
        if NO_FOCUS in self._desk.feeds.stopped:
            self._desk.feeds.resume(NO_FOCUS)
            self._desk.shell.redraw_frame()

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """While other text has the terminal, nothing is asked."""
        self._elsewhere = True
        try:
            yield
        finally:
            self._elsewhere = False
