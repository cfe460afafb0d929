"""The frame around every screen: title with health, tabs, key hints."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tui.desk import Desk
from tui.format import clean, count
from tui.screens.view import View
from tui.theme import Line, Span
from tui.widgets.lines import LineView

TITLE_ROLES = {"ok": "title-ok", "WARN": "title-warn", "BAD!": "title-bad"}


def minutes(seconds: float) -> str:
    """`00:12`."""
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def width_of(spans: Sequence[Span]) -> int:
    """Cells of a line made of plain text."""
    return sum(len(text) for text, _ in spans)


class TitleRow(LineView):
    """Host, health, queue, certificate, who, time; STALE with a counter when the daemon is lost."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk.palette, id="title", height=1)
        self._desk = desk

    def show(self) -> None:
        """Draw what is known now."""
        if self.size.width:
            self.set_lines([self._line()])

    def on_resize(self) -> None:
        """The parts follow the width."""
        self.show()

    def _line(self) -> Line:
        desk = self._desk
        hello = desk.client.hello or {}
        clock = f"{desk.now():%H:%M} "
        left: list[Span] = [(f" {clean(str(hello.get('hostname') or 'mailbox'))} ", "title"), (" ", "title-text")]
        parts: list[list[Span]] = [self._state()]
        if not desk.feeds.live:
            why = " ".join(sorted(desk.feeds.stopped))
            parts.append([(f"PAUSED {why}".strip(), "title-warn")])
        elif desk.link != "fast":
            parts.append([("slow link", "title-warn")])
        health = desk.health
        if desk.client.hello is not None and health.state:
            late = f" ({count(health.late)} late)" if health.late else ""
            parts.append([(f"queue {count(health.queue)}", "title-text"), (late, "title-warn")])
            if health.certificate_days is not None:
                role = "title-text" if health.certificate_days >= 14 else "title-warn"
                parts.append([(f"cert {health.certificate_days}d", role)])
        if desk.read_only:
            parts.append([("read-only", "title-text")])
        if hello.get("user"):
            parts.append([(clean(str(hello["user"])), "title-text")])
        if health.consoles > 1:
            parts.append([(f"{health.consoles} consoles", "title-text")])
        for index, part in enumerate(parts):
            bar: list[Span] = [(" | ", "title-dim")] if index else []
            if width_of(left) + width_of(part) + 3 + len(clock) > self.size.width:
                break
            left += bar + part
        gap = self.size.width - width_of(left) - len(clock)
        return (*left, (" " * max(0, gap), "title-text"), (clock, "title-text"))

    def _state(self) -> list[Span]:
        client = self._desk.client
        now = time.monotonic()
        if not client.connected:
            wait = max(0, round((client.retry_at or now) - now))
            counter = f"STALE {minutes(now - (client.lost_at or now))}" if client.hello is not None else "no daemon"
            return [(f" {counter} ", "title-bad"), (f" retry in {wait} s" if wait else " connecting", "title-text")]
        health = self._desk.health
        if not health.state:
            return [("...", "title-dim")]
        role = TITLE_ROLES.get(health.state, "title-text")
        problems = sum(item.state in {"WARN", "BAD!"} for item in health.todo)
        if not problems:
            return [(health.state, role)]
        return [(f"{health.state} {problems} {'problem' if problems == 1 else 'problems'}", role)]


class Tabs(LineView):
    """The screens by digit; on a page the way to it; at the right end filter and order."""

    def __init__(self, desk: Desk, screens: Sequence[type[View]]) -> None:
        super().__init__(desk.palette, id="tabs", height=1)
        self._screens = screens
        self._root = ""
        self._view: View | None = None

    def show(self, view: View, root: str) -> None:
        """Mark the current screen; `root` is the screen below a page."""
        self._view, self._root = view, root
        if self.size.width:
            self.set_lines([self._line(view)])

    def on_resize(self) -> None:
        """The right end follows the width."""
        if self._view is not None:
            self.show(self._view, self._root)

    def _line(self, view: View) -> Line:
        what, right = view.crumb()
        spans = self._spans(view, what, names=True)
        if width_of(spans) + (len(right) + 2 if right else 0) > self.size.width:
            # Where a page's name or the order would be cut, the other screens' digits must do.
            spans = self._spans(view, what, names=False)
        gap = self.size.width - width_of(spans) - len(right) - 1
        if gap > 1 and right:
            spans += [(" " * gap, "text"), (clean(right) + " ", "faint")]
        return tuple(spans)

    def _spans(self, view: View, what: str, *, names: bool) -> list[Span]:
        spans: list[Span] = []
        for kind in self._screens:
            current = self._root == kind.NAME
            name = f" {kind.TITLE}" if names or current else ""
            spans.append((f" {kind.DIGIT}{name} ", "tab" if current else "tab-off"))
        if view.DIGIT:
            if what and what != "all":
                spans.append((f"  {clean(what)}", "accent"))
        else:
            title = f"{view.TITLE}: " if view.TITLE and what else view.TITLE
            spans.append((f"  {title}{clean(what)}", "strong"))
        return spans


class Hints(LineView):
    """The last row: the keys that matter here, as many as fit whole."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk.palette, id="hints", height=1)
        self._desk = desk
        self._view: View | None = None

    def show(self, view: View) -> None:
        """The hints of a view."""
        self._view = view
        if self.size.width:
            self.set_lines([self.line(view, self.size.width)])

    def on_resize(self) -> None:
        """As many as fit."""
        if self._view is not None:
            self.show(self._view)

    def line(self, view: View, width: int) -> Line:
        """Key and label pairs; none is cut."""
        spans: list[Span] = [(" ", "text")]
        for name in view.hints():
            action = self._desk.keys[name]
            pair: list[Span] = [(action.shown, "key"), (f" {action.label}  ", "dim")]
            if width_of(spans) + width_of(pair) - 2 > width:
                break
            spans += pair
        return tuple(spans)
