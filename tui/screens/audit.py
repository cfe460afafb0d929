"""Audit: who changed what, before and after, and whether the chain is whole."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from textual.app import ComposeResult

from tui.client import CallError
from tui.desk import Desk
from tui.export import Exporter
from tui.feeds import Want
from tui.format import clock, count, plural, stamp
from tui.keys import Action
from tui.models import AuditEntry, int_of, rows_of
from tui.screens.list_view import ListView
from tui.screens.queue_filter import duration
from tui.screens.view import PageView, facts, heading
from tui.terminal import copy_message, osc52
from tui.theme import Line
from tui.widgets.lines import BLANK, LineView
from tui.widgets.window_list import Column, Page, WindowList
from tui.workers import begin

EXPORT_FIELDS = ("no", "at", "who", "uid", "via", "what", "object", "detail", "before", "after", "result")
FIELDS = ("who", "what", "since")
VERIFY_SECONDS = 120.0


def columns_for(width: int) -> Sequence[Column[AuditEntry]]:
    """Columns of the list; a wide terminal gives names more room."""
    wide = width >= 110
    return (
        Column("NO", 6, lambda entry, now: (str(entry.no), "dim"), "right"),
        Column("WHEN", 6, lambda entry, now: (" " + clock(entry.at, now).strip(), "dim")),
        Column("WHO", 18 if wide else 11, lambda entry, now: (who_text(entry), "text")),
        Column("VIA", 7, lambda entry, now: (entry.via, "dim")),
        Column("WHAT", 20 if wide else 14, lambda entry, now: (entry.what, "accent")),
        Column("OBJECT", 0, lambda entry, now: (entry.subject or "-", "text")),
        Column("RESULT", 7, lambda entry, now: (entry.result, "ok" if entry.result == "ok" else "warn")),
    )


def who_text(entry: AuditEntry) -> str:
    """The actor with the uid the kernel saw."""
    return entry.who if entry.uid is None or entry.who.startswith("uid") else f"{entry.who} ({entry.uid})"


def parse_filter(text: str) -> dict[str, Any]:
    """`who:root what:queue since:2d words`; raises ValueError with a sentence."""
    params: dict[str, Any] = {}
    words: list[str] = []
    for word in text.split():
        name, colon, value = word.partition(":")
        if not colon or name not in FIELDS:
            words.append(word)
        elif name == "since":
            params["since_seconds"] = duration(value)
        else:
            params[name] = value
    if words:
        params["text"] = " ".join(words)
    return params


def entry_lines(entry: AuditEntry, now: datetime, *, rows: int | None = None) -> list[Line]:
    """One entry: a headline, before and after as a diff, details."""
    lines: list[Line] = [
        (
            (f" {entry.no} ", "head"),
            (f" {entry.what} ", "accent"),
            (f" {entry.subject}", "text"),
            (f"   by {who_text(entry)} via {entry.via}, {stamp(entry.at, now).strip()}", "dim"),
        )
    ]
    # Equal parts of before and after are left out: the difference is what was done.
    removed = [text for text in entry.before if text not in entry.after]
    added = [text for text in entry.after if text not in entry.before]
    body: list[Line] = [((f"   - {text}", "bad"),) for text in removed]
    body += [((f"   + {text}", "ok"),) for text in added]
    body += [((f"   {text}", "text"),) for text in entry.detail]
    if not body:
        body = [(("   The entry has no details.", "faint"),)]
    if rows is not None and len(body) > rows - 1:
        body = [
            *body[: max(0, rows - 2)],
            ((f"   {plural(len(body) - rows + 2, 'more line')}, enter shows all", "faint"),),
        ]
    return lines + body


class EntryPage(PageView):
    """One audit entry in full."""

    NAME: ClassVar[str] = "entry"
    TITLE: ClassVar[str] = "entry"
    SCOPES: ClassVar[Sequence[str]] = ("find", "text", "copy", "move", "any")
    HINTS: ClassVar[Sequence[str]] = ("help", "copy.record", "escape")

    def __init__(self, desk: Desk, entry: AuditEntry) -> None:
        super().__init__(desk)
        self._entry = entry

    def crumb(self) -> tuple[str, str]:
        """Its number."""
        return str(self._entry.no), ""

    def shown(self) -> None:
        """Nothing more to load."""
        self.redraw()

    def content(self) -> Sequence[Line]:
        """Facts and the whole difference."""
        entry, now = self._entry, self.desk.now()
        pairs = (
            ("what", entry.what),
            ("object", entry.subject),
            ("who", who_text(entry)),
            ("via", entry.via),
            ("when", stamp(entry.at, now).strip()),
            ("result", entry.result),
        )
        lines: list[Line] = [*facts(pairs), BLANK]
        for title, texts, sign, role in (
            ("BEFORE", entry.before, "-", "bad"),
            ("AFTER", entry.after, "+", "ok"),
            ("DETAIL", entry.detail, " ", "text"),
        ):
            if texts:
                lines += [heading(title), *(((f"   {sign} {text}", role),) for text in texts), BLANK]
        return lines

    def do_copy_record(self) -> None:
        """The whole entry."""
        text = self.as_text()
        self.desk.prompt.say(copy_message(text))
        self.desk.shell.write_terminal(osc52(text))

    do_copy_block = do_copy_record


class AuditScreen(ListView[AuditEntry]):
    """The list of changes, newest first."""

    NAME: ClassVar[str] = "audit"
    TITLE: ClassVar[str] = "Audit"
    DIGIT: ClassVar[str] = "9"
    SCOPES: ClassVar[Sequence[str]] = ("audit", "open", "find", "list", "copy", "move", "any")
    PARSE = staticmethod(parse_filter)
    HINTS: ClassVar[Sequence[str]] = (
        "help",
        "list.filter",
        "open",
        "audit.verify",
        "export",
        "copy.record",
        "list.show-new",
        "back",
    )

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._summary = LineView(desk.palette, height=2)
        self.rows = WindowList(
            desk.palette, columns=columns_for, fetch=self._fetch, now=desk.now, empty=self._empty, on_move=self._moved
        )
        self._detail = LineView(desk.palette, height=6)
        self._detail_rows = 6
        self._count: int | None = None
        self._last_no: int | None = None
        self._shown_no: int | None = None
        self._verified = ""
        self._verified_role = "dim"
        self._verified_to: int | None = None
        self._exporter = Exporter(desk, "audit", EXPORT_FIELDS)

    def compose(self) -> ComposeResult:
        """Summary, list, the entry under the cursor."""
        yield self._summary
        yield self.rows
        yield self._detail

    def on_resize(self) -> None:
        """A tall terminal shows more of the difference."""
        self._detail_rows = 14 if self.size.height >= 32 else 6
        self._detail.styles.height = self._detail_rows
        self._draw()

    # Data

    async def _fetch(self, offset: int, limit: int) -> Page[AuditEntry] | None:
        answer = await self.desk.call("audit.list", **self.filter, offset=offset, limit=limit)
        if answer is None:
            return None
        entries = [AuditEntry.read(row) for row in rows_of(answer, "entries")]
        if offset == 0:
            self._shown_no = self._last_no if self.filter else entries[0].no if entries else 0
        return Page(int_of(answer, "total"), entries)

    def wants(self) -> Sequence[Want]:
        """Count and last number."""
        return (Want("audit", self._on_audit),)

    def _on_audit(self, state: dict[str, Any]) -> None:
        self._count, self._last_no = int_of(state, "count"), int_of(state, "last_no")
        verified = state.get("verified_to")
        self._verified_to = verified if isinstance(verified, int) else None
        if self._shown_no is None and self.filter:
            self._shown_no = self._last_no
        if self.rows.total == 0 and self._count and not self.filter:
            self.rows.reload()
        self._draw()

    def shown(self) -> None:
        """First look, or back from somewhere."""
        self.rows.reload()
        self._draw()

    def resync(self) -> None:
        """Fetch again, cursor kept."""
        self.rows.reload()

    def _moved(self) -> None:
        self._draw()

    def set_stale(self, stale: bool) -> None:
        """Grey the screen."""
        for part in (self._summary, self._detail, self.rows):
            part.set_stale(stale)

    # Drawing

    def crumb(self) -> tuple[str, str]:
        """The filter."""
        return self.filter_text or "all", "newest first"

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        self._summary.set_lines([self._sentence(), self._news()])
        row = self.rows.row
        if row is None or not self.rows.total:
            self._detail.set_lines([])
        else:
            self._detail.set_lines([BLANK, *entry_lines(row, self.desk.now(), rows=self._detail_rows - 1)])

    def _sentence(self) -> Line:
        if self.rows.total is None:
            return ((" Asking the daemon.", "dim"),)
        if self.filter:
            return (
                (f" {count(self.rows.total)} of {count(self._count)} changes match. ", "strong"),
                ("esc shows all", "dim"),
            )
        verified = self._verified
        if not verified:
            verified = (
                f"Chain verified up to no. {count(self._verified_to)}."
                if self._verified_to
                else "Chain not verified yet, c does it."
            )
        return (
            (f" {plural(self._count or self.rows.total, 'change')} on record. ", "strong"),
            (verified, self._verified_role),
        )

    def _news(self) -> Line:
        new = (self._last_no or 0) - (self._shown_no or 0)
        if self._shown_no is None or new <= 0:
            return BLANK
        return ((f" +{count(new)} new,", "accent"), (" . to show", "dim"))

    def _empty(self) -> Sequence[Line]:
        if self.filter:
            return [((f"   0 of {count(self._count)} match {self.filter_text!r} - esc shows all", "dim"),)]
        return [
            (
                ("   Nothing was changed yet. ", "strong"),
                ("Every change by command line or console is written here.", "dim"),
            )
        ]

    # Actions

    def refuse(self, action: Action) -> str:
        """Row actions need a row."""
        return "there is no entry" if action.scope in {"copy", "open"} and self.rows.row is None else ""

    def do_open(self) -> None:
        """The entry in full."""
        if self.rows.row is not None:
            self.desk.shell.open_page(EntryPage(self.desk, self.rows.row))

    def do_audit_verify(self) -> None:
        """Recompute the chain."""
        self._verified, self._verified_role = "Verifying the chain...", "dim"
        self._draw()
        begin(self, self._verify, "verify")

    async def _verify(self) -> None:
        try:
            answer = await self.desk.client.call("audit.verify", timeout_seconds=VERIFY_SECONDS)
        except CallError as error:
            self._verified, self._verified_role = "", "dim"
            self.desk.prompt.say(error.sentence(), "bad")
        else:
            if answer.get("ok"):
                self._verified, self._verified_role = (
                    f"Chain is whole: {count(int_of(answer, 'count'))} entries ({self.desk.now():%H:%M}).",
                    "ok",
                )
            else:
                self._verified, self._verified_role = (
                    f"BAD! The chain is broken at no. {count(int_of(answer, 'broken_at'))}: it was changed by hand.",
                    "bad",
                )
        self._draw()

    def filter_changed(self) -> None:
        """Fetch with the new filter."""
        self.rows.reload(keep=False)

    def do_list_show_new(self) -> None:
        """Fetch again, from the newest entry."""
        self.rows.reload(keep=False)

    def escape(self) -> bool:
        """The filter."""
        if self.filter:
            self.set_filter("")
            return True
        return False

    def do_export(self) -> None:
        """Write the filtered view to a file."""
        query = dict(self.filter)
        self._exporter.ask(
            lambda offset, limit: self.desk.client.call("audit.list", {**query, "offset": offset, "limit": limit}),
            "entries",
        )

    def record_text(self) -> str:
        """The entry under the cursor."""
        if self.rows.row is None:
            return ""
        return "\n".join("".join(part for part, _ in line) for line in entry_lines(self.rows.row, self.desk.now()))

    def block_text(self) -> str:
        """The entries on the screen, one a line."""
        now = self.desk.now()
        cells = (
            (str(entry.no), stamp(entry.at, now).strip(), who_text(entry), entry.what, entry.subject, entry.result)
            for entry in self.rows.rows_shown()
        )
        return "\n".join("\t".join(row) for row in cells)
