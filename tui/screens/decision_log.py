"""Log: what was decided about each message at the door, newest first; enter tells its whole story.

On its first row the list follows the news, at most once a second; away from it rows stand still and the news is counted. The daemon
is asked for rows only when its small topic `log` says that something new fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from textual.app import ComposeResult

from tui.decision_models import LogRow, outcome_word, some
from tui.desk import Desk
from tui.export import Exporter
from tui.feeds import Want
from tui.format import clock, count, plural, stamp
from tui.keys import Action
from tui.keyset import KeysetRows
from tui.models import int_of, rows_of
from tui.screens.list_view import ListView
from tui.screens.log_filter import parse_filter
from tui.screens.trace import TracePage
from tui.screens.view import wrapped
from tui.theme import Line
from tui.widgets.lines import BLANK, LineView
from tui.widgets.window_list import Column, Page, WindowList

MOST_COUNTED = 10_000
WIDE = 110
DETAIL_FROM_ROWS = 32
FULL_DETAIL, SMALL_DETAIL = 7, 3
EXPORT_FIELDS = (
    "no",
    "at",
    "outcome",
    "trace_id",
    "session_id",
    "remote",
    "sender",
    "recipients",
    "message_id",
    "subject",
    "score",
    "code",
    "text",
    "reason",
)


def columns_for(width: int) -> Sequence[Column[LogRow]]:
    """Columns of the list; a wide terminal adds client and code."""
    columns: list[Column[LogRow]] = [
        Column("WHEN", 8, lambda row, now: (time_of(row.at, now), "dim")),
        Column("ST", 4, lambda row, now: outcome_word(row.outcome)),
        Column("SCORE", 5, lambda row, now: (f"{row.score:.1f}" if row.score else "", "text"), "right"),
        Column("FROM", 0, lambda row, now: (row.sender or "<>", "text")),
        Column("TO", 0, lambda row, now: (some(row.recipients), "text")),
        Column("WHY", 0, lambda row, now: (row.why, "dim")),
    ]
    if width >= WIDE:
        columns.insert(3, Column("CLIENT", 18, lambda row, now: (row.remote, "dim")))
        columns.insert(2, Column("CODE", 4, lambda row, now: (str(row.code or ""), "dim"), "right"))
    return columns


def time_of(at: datetime | None, now: datetime) -> str:
    """The time to the second today, the date before."""
    if at is None or at.astimezone(now.tzinfo).date() != now.date():
        return clock(at, now)
    return f"{at.astimezone(now.tzinfo):%H:%M:%S}"


class LogScreen(ListView[LogRow]):
    """The list of decisions."""

    NAME: ClassVar[str] = "log"
    TITLE: ClassVar[str] = "Log"
    DIGIT: ClassVar[str] = "3"
    SCOPES: ClassVar[Sequence[str]] = ("trace", "open", "find", "list", "problems", "copy", "move", "any")
    PARSE = staticmethod(parse_filter)
    HINTS: ClassVar[Sequence[str]] = (
        "help",
        "list.filter",
        "list.problems",
        "trace",
        "pause",
        "list.show-new",
        "copy.record",
        "export",
        "back",
    )

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._summary = LineView(desk.palette, height=2)
        self.rows = WindowList(
            desk.palette, columns=columns_for, fetch=self._fetch, now=desk.now, empty=self._empty, on_move=self._moved
        )
        self._detail = LineView(desk.palette, height=SMALL_DETAIL)
        self._problems = False
        self._keyset = KeysetRows(self._ask, "rows")
        self._anchor_no = 0
        """The newest row shown; what is newer waits."""
        self._newest_no = 0
        self._last_no = 0
        self._exporter = Exporter(desk, "log", EXPORT_FIELDS)

    def compose(self) -> ComposeResult:
        """Summary, list, what was said about the row under the cursor."""
        self._detail.styles.height = FULL_DETAIL if self.app.size.height - 4 >= DETAIL_FROM_ROWS else SMALL_DETAIL
        yield self._summary
        yield self.rows
        yield self._detail

    def on_resize(self) -> None:
        """A tall terminal tells more of the row."""
        self._detail.styles.height = self._detail_rows
        self._draw()

    @property
    def _detail_rows(self) -> int:
        return FULL_DETAIL if self.size.height >= DETAIL_FROM_ROWS else SMALL_DETAIL

    # Data

    @property
    def _where(self) -> dict[str, Any]:
        return {**self.filter, "problems": True} if self._problems else dict(self.filter)

    async def _fetch(self, offset: int, limit: int) -> Page[LogRow] | None:
        if offset == 0:
            answer = await self.desk.call("trace.search", **self._where, limit=limit, count=True)
            if answer is None:
                return None
            rows = [LogRow.read(row) for row in rows_of(answer, "rows")]
            self._keyset.forget()
            self._anchor_no = rows[0].no if rows else 0
            self._newest_no = max(self._newest_no, self._anchor_no)
            return Page(int_of(answer, "total"), rows)
        found = await self._rows_at(offset, limit)
        return None if found is None else Page(self.rows.total or 0, [LogRow.read(row) for row in found])

    async def _rows_at(self, offset: int, limit: int) -> Sequence[Mapping[str, Any]] | None:
        """Without a filter numbers follow each other, so any row is one question away."""
        if self._where:
            return await self._keyset.rows(offset, limit)
        answer = await self.desk.call("trace.search", before_no=max(0, self._anchor_no + 1 - offset), limit=limit)
        return None if answer is None else rows_of(answer, "rows")

    async def _ask(self, before: str, limit: int) -> dict[str, Any] | None:
        before_no = int(before) if before else self._anchor_no + 1
        answer = await self.desk.call("trace.search", **self._where, before_no=before_no, limit=limit)
        if answer is None:
            return None
        rows = rows_of(answer, "rows")
        return {"rows": rows, "next": str(int_of(rows[-1], "no")) if len(rows) == limit else None}

    def wants(self) -> Sequence[Want]:
        """Two numbers; a tall list that follows them costs more on the line, so it follows half as often."""
        return (Want("log", self._on_news, self._where, max_hz=0.5 if self.size.height >= DETAIL_FROM_ROWS else 1.0),)

    def _on_news(self, state: dict[str, Any]) -> None:
        self._last_no, self._newest_no = int_of(state, "last_no"), int_of(state, "newest_no")
        if self._newest_no > self._anchor_no and self.rows.total is not None and self._follows:
            self.rows.reload(keep=False)
        self._draw()

    @property
    def _follows(self) -> bool:
        """Who looks at the first row wants to see what comes."""
        return self.rows.cursor == 0 and self.rows.top == 0

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
        return self.filter_text or ("problems" if self._problems else "all"), "newest first"

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        self._summary.set_lines([self._sentence(), self._news()])
        row = self.rows.row
        self._detail.set_lines(self._row_lines(row)[: self._detail_rows] if row and self.rows.total else [])

    def _row_lines(self, row: LogRow) -> list[Line]:
        width = max(20, self.size.width)
        reply = f"{row.code or ''} {row.text}".strip()
        lines: list[Line] = [
            BLANK,
            ((f" {row.outcome}: ", outcome_word(row.outcome)[1]), (reply or row.reason, "text")),
        ]
        about = " ".join(filter(None, (row.remote, row.message_id, row.subject)))
        if self._detail_rows == SMALL_DETAIL:
            return [*lines, ((f" {about}", "dim"),)]
        return [
            *lines,
            *(wrapped(f"why: {row.reason}", width, "text") if row.reason else []),
            ((f" from {row.sender or '<>'} to {', '.join(row.recipients[:5]) or '-'}", "dim"),),
            ((f" {about}", "dim"),),
            ((f" {row.id}", "faint"),),
        ]

    def _sentence(self) -> Line:
        total = self.rows.total
        if total is None:
            return ((" Asking the daemon.", "dim"),)
        if not total and not self._where:
            return ((" Nothing is on record.", "strong"),)
        if self._where:
            more = "more than " if total >= MOST_COUNTED else ""
            what = self.filter_text or "problems"
            verb = "matches" if total == 1 else "match"
            return ((f" {more.capitalize()}{count(total)} {verb} {what!r}. ", "strong"), ("esc shows all", "dim"))
        return ((f" {plural(total, 'decision')} on record, the newest first. ", "strong"), ("enter tells why", "dim"))

    def _news(self) -> Line:
        new = self._newest_no > self._anchor_no and self.rows.total is not None
        if new and not self._follows:
            # Numbers of other records lie between those that match a filter.
            told = "new ones" if self._where else f"+{count(self._newest_no - self._anchor_no)} new"
            return ((f" {told},", "accent"), (" . to show", "dim"))
        if not self.desk.feeds.live:
            return ((" Not live now, p goes on.", "warn"),)
        return (
            (
                (" Live: what comes appears at the top." if self._follows else " Standing still while you read."),
                "faint",
            ),
        )

    def _empty(self) -> Sequence[Line]:
        if self._where:
            what = self.filter_text or "problems"
            lines: list[Line] = [((f"   0 of {count(self._last_no)} match {what!r} - esc shows all", "dim"),)]
            if "@" in self.filter_text:
                lines.append((("   A Message-ID is found by msgid:, a whole domain by @example.org.", "dim"),))
            return lines
        return [
            (("   No mail has come to the door yet. ", "strong"), ("What comes appears here by itself.", "dim")),
            (("   Records are kept for 30 days.", "dim"),),
        ]

    # Actions

    def refuse(self, action: Action) -> str:
        """Row actions need a row."""
        return "there is no row" if action.scope in {"copy", "open", "trace"} and self.rows.row is None else ""

    def command_line(self) -> str:
        """The trace of the row."""
        return f"mailbox trace {self.rows.row.id}" if self.rows.row else "mailbox trace"

    def do_open(self) -> None:
        """The whole story."""
        if row := self.rows.row:
            self.desk.shell.open_page(TracePage(self.desk, row.id, no=row.no))

    do_trace = do_open

    def filter_changed(self) -> None:
        """Fetch with the new filter."""
        self._anchor_no = self._newest_no = 0
        self.rows.total = None
        self.rows.reload(keep=False)
        self.desk.feeds.show(self.wants())

    def look_for(self, words: str) -> None:
        """Filter by this; a screen that is not laid out yet fetches when it is shown."""
        if self.is_mounted:
            self.set_filter(words)
        else:
            self.filter, self.filter_text = parse_filter(words), words

    def do_list_problems(self) -> None:
        """Only what was deferred or refused, on and off."""
        self._problems = not self._problems
        self.filter_changed()
        self.desk.shell.redraw_frame()

    def do_list_show_new(self) -> None:
        """From the newest again."""
        self.rows.reload(keep=False)

    def escape(self) -> bool:
        """The filter."""
        if not self._where:
            return False
        self._problems = False
        self.set_filter("")
        return True

    def do_export(self) -> None:
        """Write the filtered view to a file, from the newest on."""
        where, last = self._where, {"no": self._anchor_no + 1}

        async def fetch(offset: int, limit: int) -> dict[str, Any]:
            answer = await self.desk.client.call("trace.search", {**where, "before_no": last["no"], "limit": limit})
            rows = rows_of(answer, "rows")
            last["no"] = int_of(rows[-1], "no") if rows else 0
            return {"rows": rows}

        self._exporter.ask(fetch, "rows")

    def record_text(self) -> str:
        """The row under the cursor as one line."""
        return "" if self.rows.row is None else "\t".join(self._cells(self.rows.row))

    def block_text(self) -> str:
        """The rows on the screen, tabs between the cells."""
        return "\n".join("\t".join(self._cells(row)) for row in self.rows.rows_shown())

    def _cells(self, row: LogRow) -> Sequence[str]:
        when = stamp(row.at, self.desk.now()).strip()
        return (
            when,
            row.outcome,
            row.id,
            row.remote,
            row.sender or "<>",
            some(row.recipients),
            f"{row.code} {row.text}",
            row.why,
        )
