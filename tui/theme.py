"""Colours by role. A line is a tuple of spans, a span is (text, role); only this module knows what a role looks like.

Three palettes: `rich` (own calm dark colours, needs 256 colours or more), `ansi` (the terminal's own 16) and `mono` (no
colour at all: bold, dim, reverse). The meaning is in the words of each screen; colour only repeats it.
"""

from __future__ import annotations

from typing import Literal

from rich.style import Style
from textual.theme import Theme

Span = tuple[str, str]
Line = tuple[Span, ...]
PaletteName = Literal["rich", "ansi", "mono"]

BACKGROUND = "#11151c"
BAR = "#1c2430"
CURSOR = "#233754"

RICH: dict[str, str] = {
    "text": "#c8d0da",
    "strong": "bold #e8edf3",
    "dim": "#8490a0",
    "faint": "#6b7786",
    "head": "bold #7fb4ea",
    "accent": "#7fb4ea",
    "key": "bold #7fb4ea",
    "ok": "#86c58b",
    "warn": "#e5b654",
    "bad": "bold #f47f77",
    "mark": "#c9a4ee",
    "graph": "#5e93c9",
    "title": f"bold #e8edf3 on {BAR}",
    "title-text": f"#b4bfcc on {BAR}",
    "title-dim": f"#6d7a8b on {BAR}",
    "title-ok": f"bold #86c58b on {BAR}",
    "title-warn": f"bold #e5b654 on {BAR}",
    "title-bad": f"bold #f47f77 on {BAR}",
    "tab": "bold #11151c on #7fb4ea",
    "tab-off": "#8490a0",
    "entry": "#e8edf3 on #1c2430",
    "entry-cursor": "#11151c on #e8edf3",
    "match": "bold #11151c on #e5b654",
}
ANSI: dict[str, str] = {
    "text": "default",
    "strong": "bold",
    "dim": "default",
    "faint": "bright_black",
    "head": "bold cyan",
    "accent": "cyan",
    "key": "bold cyan",
    "ok": "green",
    "warn": "yellow",
    "bad": "bold red",
    "mark": "magenta",
    "graph": "cyan",
    "title": "bold white on blue",
    "title-text": "white on blue",
    "title-dim": "white on blue",
    "title-ok": "bold green on blue",
    "title-warn": "bold yellow on blue",
    "title-bad": "bold white on red",
    "tab": "black on cyan",
    "tab-off": "default",
    "entry": "bold",
    "entry-cursor": "reverse",
    "match": "reverse",
}
MONO: dict[str, str] = {
    "strong": "bold",
    "faint": "dim",
    "head": "bold",
    "key": "bold",
    "bad": "bold",
    "warn": "bold",
    "title": "bold reverse",
    "title-text": "reverse",
    "title-dim": "reverse",
    "title-ok": "reverse",
    "title-warn": "bold reverse",
    "title-bad": "bold reverse",
    "tab": "reverse",
    "entry": "underline",
    "entry-cursor": "reverse",
    "match": "reverse",
}

CONSOLE_THEME = Theme(
    name="mailbox",
    primary="#7fb4ea",
    foreground="#c8d0da",
    background=BACKGROUND,
    surface=BACKGROUND,
    panel=BAR,
    dark=True,
)


class Palette:
    """Styles by role for one terminal; `stale` data loses its colours, the cursor row gets its ground."""

    def __init__(self, name: PaletteName) -> None:
        self.name = name
        self._table = {"rich": RICH, "ansi": ANSI, "mono": MONO}[name]
        base = f"{RICH['text']} on {BACKGROUND}" if name == "rich" else ""
        self._base = Style.parse(base) if base else Style.null()
        self._cursor = Style.parse(f"on {CURSOR}") if name == "rich" else Style(reverse=True)
        self._stale = Style.parse(f"#6d7a8b on {BACKGROUND}") if name == "rich" else Style(dim=True)
        self._known: dict[tuple[str, bool, bool], Style] = {}

    def style(self, role: str, *, cursor: bool = False, stale: bool = False) -> Style:
        """The terminal style of a role."""
        key = (role, cursor, stale)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._make(role, cursor=cursor, stale=stale)
        return found

    def _make(self, role: str, *, cursor: bool, stale: bool) -> Style:
        if stale and not role.startswith(("title", "tab", "entry", "key")):
            style = self._stale
        else:
            style = self._base + Style.parse(self._table.get(role, "") or "none")
        if not cursor:
            return style
        # On 16 colours a coloured word in reverse is unreadable on some terminals: the row becomes plain reverse.
        return style + self._cursor if self.name == "rich" else self._cursor
