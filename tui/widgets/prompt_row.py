"""The permanent row above the key hints: what just happened, a question, or one line of typing.

It is always in the layout: text changing inside a row costs well under 1 kB, while a dialog or a new widget would repaint
the whole screen. It owns its own small line editor, so that typing repaints single cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.cells import cell_len

from tui.format import clean, fit
from tui.theme import Line, Palette
from tui.widgets.lines import LineView


@dataclass(slots=True)
class Question:
    """A yes-or-no in the prompt row; `keys` run their function, any other key cancels."""

    text: str
    keys: dict[str, Callable[[], None]]
    suffix: str = "y runs, else cancels"
    """What the keys do; never cut, whatever the length of the text."""
    role: str = "warn"
    cancelled: str = "Cancelled, nothing was changed."
    cancel: Callable[[], None] | None = None
    """Called after any other key."""


@dataclass(slots=True)
class Entry:
    """One line being typed."""

    label: str
    submit: Callable[[str], None]
    change: Callable[[str], None] | None = None
    cancel: Callable[[], None] | None = None
    move: Callable[[int], None] | None = None
    """Up and down keys, for a menu above the row; without it they walk through the history."""
    history: list[str] | None = None
    text: str = ""
    at: int = 0
    back: int = 0


class PromptRow(LineView):
    """Says, asks and reads; `active` means that keys belong to it."""

    def __init__(self, palette: Palette, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(palette, id=id, height=1)
        self._question: Question | None = None
        self._entry: Entry | None = None
        self._said: Line = ()

    @property
    def active(self) -> bool:
        """A question or an entry waits for keys."""
        return self._question is not None or self._entry is not None

    @property
    def typing(self) -> bool:
        """A line is being typed."""
        return self._entry is not None

    def say(self, text: str, role: str = "text") -> None:
        """Show a message until the next one."""
        self._said = ((" " + clean(text), role),) if text else ()
        self._paint()

    def ask(self, question: Question) -> None:
        """Ask; the answer is the next key."""
        self._entry, self._question = None, question
        self._paint()

    def read(self, entry: Entry) -> None:
        """Read a line; enter submits it, esc leaves."""
        entry.at = len(entry.text)
        entry.back = len(entry.history or ())
        self._question, self._entry = None, entry
        self._paint()

    def close(self) -> None:
        """Drop question and entry without calling anything."""
        self._question = self._entry = None
        self._paint()

    def press(self, key: str, character: str | None) -> None:
        """Take one key; only called while `active`."""
        if self._question is not None:
            question, self._question = self._question, None
            chosen = question.keys.get(key)
            self._said = () if chosen else ((" " + question.cancelled, "dim"),)
            self._paint()
            if todo := chosen or question.cancel:
                todo()
        elif self._entry is not None:
            self._type(self._entry, key, character)

    def paste(self, text: str) -> None:
        """Insert pasted text as one line."""
        if self._entry is not None:
            self._insert(self._entry, clean(" ".join(text.split())))
            self._paint()

    def _insert(self, entry: Entry, text: str) -> None:
        entry.text = entry.text[: entry.at] + text + entry.text[entry.at :]
        entry.at += len(text)
        if entry.change:
            entry.change(entry.text)

    def _type(self, entry: Entry, key: str, character: str | None) -> None:
        before = entry.text
        if key == "enter":
            self._entry = None
            if entry.history is not None and entry.text and entry.text not in entry.history[-1:]:
                entry.history.append(entry.text)
            self._paint()
            entry.submit(entry.text)
            return
        if key in {"escape", "ctrl+c"} or (key == "backspace" and not entry.text):
            self._entry = None
            self._paint()
            if entry.cancel:
                entry.cancel()
            return
        if key in {"up", "down"}:
            self._vertical(entry, -1 if key == "up" else 1)
        elif key in {"backspace", "ctrl+h"}:
            entry.text = entry.text[: max(0, entry.at - 1)] + entry.text[entry.at :]
            entry.at = max(0, entry.at - 1)
        elif key in {"delete", "ctrl+d"}:
            entry.text = entry.text[: entry.at] + entry.text[entry.at + 1 :]
        elif key in {"ctrl+u", "ctrl+w", "ctrl+k"}:
            self._erase(entry, key)
        elif key in {"left", "right", "home", "end", "ctrl+a", "ctrl+e"}:
            moves = {"left": entry.at - 1, "right": entry.at + 1, "home": 0, "ctrl+a": 0}
            entry.at = min(len(entry.text), max(0, moves.get(key, len(entry.text))))
        elif character and character.isprintable():
            entry.text = entry.text[: entry.at] + character + entry.text[entry.at :]
            entry.at += len(character)
        if entry.text != before and entry.change:
            entry.change(entry.text)
        self._paint()

    @staticmethod
    def _erase(entry: Entry, key: str) -> None:
        if key == "ctrl+k":
            entry.text = entry.text[: entry.at]
            return
        kept = entry.text[: entry.at].rstrip().rpartition(" ")
        start = 0 if key == "ctrl+u" else len(kept[0]) + len(kept[1])
        entry.text, entry.at = entry.text[:start] + entry.text[entry.at :], start

    @staticmethod
    def _vertical(entry: Entry, step: int) -> None:
        if entry.move:
            entry.move(step)
        elif entry.history:
            entry.back = min(len(entry.history), max(0, entry.back + step))
            entry.text = entry.history[entry.back] if entry.back < len(entry.history) else ""
            entry.at = len(entry.text)

    def _paint(self) -> None:
        if self._question is not None:
            question = self._question
            room = max(10, self.size.width - len(question.suffix) - 4)
            text = clean(question.text)
            if cell_len(text) > room:
                text = fit(text, room - 3).rstrip() + "..."
            self.set_lines([((f" {text}  ", question.role), (question.suffix, "key"))])
        elif self._entry is not None:
            entry = self._entry
            room = max(8, self.size.width - len(entry.label) - 3)
            start = max(0, entry.at - room + 1)
            text = entry.text[start : start + room]
            at = entry.at - start
            under = text[at : at + 1] or " "
            line: Line = (
                (f" {entry.label} ", "key"),
                (text[:at], "entry"),
                (under, "entry-cursor"),
                (text[at + 1 :], "entry"),
            )
            self.set_lines([line])
        else:
            self.set_lines([self._said])
