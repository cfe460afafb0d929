"""A menu of actions: help, the palette and the menu of a row are the same page with other entries.

Enter runs the action under the cursor. Actions that are not possible now stay listed with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult

from tui.desk import Desk
from tui.format import display_keys, fit
from tui.keys import Action
from tui.screens.view import View
from tui.theme import Line
from tui.widgets.lines import BLANK, LineView
from tui.widgets.prompt_row import Entry

SCOPE_NAMES = {
    "move": "MOVING",
    "find": "THIS LIST",
    "text": "FINDING",
    "list": "THIS LIST",
    "sort": "THIS LIST",
    "problems": "THIS LIST",
    "pane": "THIS LIST",
    "mark": "THIS LIST",
    "copy": "COPYING",
    "open": "THIS ROW",
    "any": "EVERYWHERE",
}


def matches(action: Action, typed: str) -> bool:
    """All letters of each typed word occur in order somewhere in the action's words."""
    words = f"{action.id} {action.label} {action.tooltip}".lower()
    return all(word in words or in_order(word, f"{action.id} {action.label}".lower()) for word in typed.lower().split())


def in_order(letters: str, words: str) -> bool:
    """`letters` is a subsequence of `words`."""
    rest = iter(words)
    return all(letter in rest for letter in letters)


class MenuPage(View):
    """The runnable list of actions; with `typing` it filters while the prompt row is typed in."""

    NAME: ClassVar[str] = "menu"
    SCOPES: ClassVar[Sequence[str]] = ("move", "open", "any")
    HINTS: ClassVar[Sequence[str]] = ("open", "move.down", "move.up", "escape")

    def __init__(self, desk: Desk, title: str, actions: Sequence[Action], below: View, *, typing: bool = False) -> None:
        super().__init__(desk)
        self.title = title
        self._all = [
            action
            for action in actions
            if action.id.startswith("go.") or hasattr(below, action.handler) or hasattr(desk.shell, action.handler)
        ]
        self._actions = list(self._all)
        self._below = below
        self._typing = typing
        self._cursor = 0
        self._lines = LineView(desk.palette)
        self._lines.styles.height = "1fr"

    def compose(self) -> ComposeResult:
        """One widget of lines."""
        yield self._lines

    def hints(self) -> Sequence[str]:
        """While something is typed, letters do not move."""
        return ("open", "escape") if self._typing else self.HINTS

    def crumb(self) -> tuple[str, str]:
        """Whose actions they are."""
        return self.title, self._below.TITLE

    def shown(self) -> None:
        """The palette starts typing at once."""
        self.redraw()
        if self._typing:
            self.desk.prompt.read(
                Entry(
                    "find",
                    submit=self._run_typed,
                    change=self._narrow,
                    cancel=self.desk.shell.close_page,
                    move=self._step,
                )
            )

    def on_resize(self) -> None:
        """The window follows the size."""
        self.redraw()

    def _narrow(self, typed: str) -> None:
        self._actions = [action for action in self._all if matches(action, typed)]
        self._cursor = 0
        self.redraw()

    def _run_typed(self, typed: str) -> None:
        self.do_open()

    def _step(self, step: int) -> None:
        self._cursor = min(max(0, self._cursor + step), max(0, len(self._actions) - 1))
        self.redraw()

    def do_open(self) -> None:
        """Close the menu and run the action."""
        action = self._actions[self._cursor] if self._actions else None
        self.desk.shell.close_page()
        if action is not None:
            self.desk.shell.perform(action)

    def do_move_down(self) -> None:
        """Next action."""
        self._step(1)

    def do_move_up(self) -> None:
        """Action before."""
        self._step(-1)

    def do_move_first(self) -> None:
        """First action."""
        self._step(-len(self._actions))

    def do_move_last(self) -> None:
        """Last action."""
        self._step(len(self._actions))

    def do_move_page_down(self) -> None:
        """Ten on."""
        self._step(10)

    def do_move_page_up(self) -> None:
        """Ten back."""
        self._step(-10)

    def redraw(self) -> None:
        """Grouped by scope while nothing is typed."""
        if not self.is_mounted:
            return
        width, height = self.size
        lines: list[Line] = []
        under = 0
        group = ""
        for index, action in enumerate(self._actions):
            scope = "text" if action.scope == "find" and "list" not in self._below.SCOPES else action.scope
            name = SCOPE_NAMES.get(scope, self._below.TITLE.upper())
            if name != group:
                lines += [*([BLANK] if lines else []), ((f" {name}", "head"),)]
                group = name
            if index == self._cursor:
                under = len(lines)
            lines.append(self._entry(action, width, cursor=index == self._cursor))
        if not lines:
            lines = [BLANK, (("   No action matches. esc closes.", "dim"),)]
        top = min(max(0, under - height // 2), max(0, len(lines) - height))
        shown = lines[top : top + height]
        if len(lines) > top + height and shown:
            shown[-1] = ((f"   {len(lines) - top - height + 1} more below", "faint"),)
        self._lines.set_lines(shown)

    def _entry(self, action: Action, width: int, *, cursor: bool) -> Line:
        reason = self._reason(action)
        keys = display_keys(action.keys)
        text = f"not now: {reason}" if reason else action.tooltip
        role = "faint" if reason else "strong" if cursor else "text"
        return (
            (" > " if cursor else "   ", "key"),
            (fit(keys, 14), "faint" if reason else "key"),
            (fit(action.label, 14), role),
            (fit(text, max(0, width - 32)), "faint" if reason else "dim"),
        )

    def _reason(self, action: Action) -> str:
        if action.changes and (reason := self.desk.refuse_change()):
            return reason
        return self._below.refuse(action)
