"""The page before something wide or final: what would happen, and a count to type in full. Leaving it cancels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from tui.desk import Desk
from tui.format import count, plural
from tui.queue_models import Plan
from tui.screens.view import PageView, heading, wrapped
from tui.theme import Line
from tui.widgets.lines import BLANK
from tui.widgets.prompt_row import Entry


class ConfirmPage(PageView):
    """Asks for the number of messages before they are dropped."""

    NAME: ClassVar[str] = "confirm"
    TITLE: ClassVar[str] = "Are you sure?"
    HINTS: ClassVar[Sequence[str]] = ("escape",)

    def __init__(self, desk: Desk, plan: Plan, name: str, go: Callable[[], None]) -> None:
        super().__init__(desk)
        self._plan = plan
        self._name = name
        self._go = go

    def shown(self) -> None:
        """Ask at once; an empty answer cancels."""
        self.redraw()
        self.desk.prompt.read(
            Entry(f"Type {self._plan.messages} to drop them, esc cancels:", submit=self._typed, cancel=self._cancel)
        )

    def _typed(self, text: str) -> None:
        self.desk.shell.close_page()
        if text.strip().replace(",", "") == str(self._plan.messages):
            self._go()
        else:
            self.desk.prompt.say(f"Not dropped: {self._plan.messages} was not typed.", "dim")

    def _cancel(self) -> None:
        self.desk.shell.close_page()
        self.desk.prompt.say("Cancelled, nothing was dropped.", "dim")

    def content(self) -> Sequence[Line]:
        """Counts, consequence, sample."""
        plan, width = self._plan, self.size.width
        lines: list[Line] = [
            BLANK,
            ((f" Drop {plural(plan.messages, 'message')} with {plural(plan.count, 'recipient')}", "bad"),),
            BLANK,
            *wrapped("They are deleted without a bounce: no sender is told. This cannot be undone.", width),
            *wrapped(f"Selected: {self._name}.", width, "dim"),
            BLANK,
            heading("FOR EXAMPLE"),
        ]
        lines += [((f"   {name:<14} ", "dim"), (to, "text")) for name, to in plan.sample[:8]]
        if plan.count > len(plan.sample[:8]):
            lines.append(((f"   and {count(plan.count - len(plan.sample[:8]))} more", "faint"),))
        return lines
