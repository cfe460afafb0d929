"""Queue: who waits, for whom, why; hold, retry, bounce, drop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar

from tui.client import CallError
from tui.desk import Desk
from tui.export import Exporter
from tui.feeds import Want
from tui.format import age, clock, count, plural, size, state_word, until
from tui.keys import Action
from tui.models import Message, QueuePage, QueueRow
from tui.screens.menu import MenuPage
from tui.screens.message import MessagePage, message_lines
from tui.screens.queue_actions import QueueActions, Target, exact
from tui.screens.queue_filter import parse_filter
from tui.screens.view import View
from tui.terminal import copy_message, osc52
from tui.theme import Line
from tui.widgets.lines import BLANK, LineView
from tui.widgets.prompt_row import Entry
from tui.widgets.window_list import Column, Page, WindowList

SORTS = ("next", "age", "size", "from", "to", "attempts")
SORT_NAMES = {"next": "next try", "attempts": "tries"}
DETAIL_FROM_ROWS = 32
DETAIL_ROWS = 11
EXPORT_FIELDS = ("id", "state", "next_at", "arrived_at", "attempts", "size_bytes", "from", "to", "code", "last", "host")


def state_cell(row: QueueRow, now: datetime) -> tuple[str, str]:
    """The state word; rows that left the queue say so until the list is shown anew."""
    return ("gone", "faint") if row.gone else state_word(row.state, row.next_at, now)


def answer_text(row: QueueRow) -> str:
    """The last answer with its code, once."""
    return row.last if not row.code or row.last.startswith(str(row.code)) else f"{row.code} {row.last}"


def columns_for(width: int) -> Sequence[Column[QueueRow]]:
    """Columns of the list; a wide terminal adds id and remote host."""
    wide = width >= 110

    def dim(row: QueueRow, role: str) -> str:
        return "faint" if row.gone else role

    columns: list[Column[QueueRow]] = [
        Column("ST", 4, state_cell),
        Column(
            "NEXT",
            4,
            lambda row, now: (
                "-" if row.gone or row.state == "held" else "now" if row.state == "active" else until(row.next_at, now),
                dim(row, "text"),
            ),
            "right",
        ),
        Column("AGE", 4, lambda row, now: (age(row.arrived_at, now), dim(row, "dim")), "right"),
        Column("TRY", 3, lambda row, now: (str(row.attempts), dim(row, "dim")), "right"),
        Column("SIZE", 5, lambda row, now: (size(row.size_bytes) + " ", dim(row, "dim")), "right"),
        Column("FROM", 22 if wide else 16, lambda row, now: (row.sender or "<>", dim(row, "text"))),
        Column("TO", 24 if wide else 18, lambda row, now: (row.recipient, dim(row, "text"))),
        Column("LAST ANSWER", 0, lambda row, now: (answer_text(row) or "not tried yet", dim(row, "dim"))),
    ]
    if wide:
        columns.insert(0, Column("ID", 12, lambda row, now: (row.id, dim(row, "dim"))))
    return columns


class QueueScreen(View):
    """The list of waiting recipients."""

    NAME: ClassVar[str] = "queue"
    TITLE: ClassVar[str] = "Queue"
    DIGIT: ClassVar[str] = "2"
    SCOPES: ClassVar[Sequence[str]] = ("queue", "list", "sort", "mark", "copy", "move", "open", "any")
    HINTS: ClassVar[Sequence[str]] = (
        "help",
        "list.filter",
        "open",
        "list.mark",
        "queue.hold",
        "queue.retry",
        "queue.bounce",
        "queue.drop",
        "list.problems",
        "list.sort",
        "export",
        "list.menu",
    )

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        palette = desk.palette
        self._summary = LineView(palette, height=2)
        self._list: WindowList[QueueRow] = WindowList(
            palette, columns=columns_for, fetch=self._fetch, now=desk.now, empty=self._empty, on_move=self._moved
        )
        self._foot = LineView(palette, height=2)
        self._detail = LineView(palette, height=DETAIL_ROWS)
        self._filter_text = ""
        self._filter: dict[str, Any] = {}
        self._history: list[str] = []
        self._sort = 0
        self._reverse = False
        self._problems = False
        self._page = QueuePage()
        self._live_total: int | None = None
        self._watched: tuple[str, ...] = ()
        self._shown_message = Message()
        self._actions = QueueActions(desk, self.resync)
        self._exporter = Exporter(desk, "queue", EXPORT_FIELDS)

    def compose(self):  # type: ignore[no-untyped-def]
        """Summary, list, destinations, and on tall terminals the message under the cursor."""
        yield self._summary
        yield self._list
        yield self._foot
        yield self._detail

    def on_resize(self) -> None:
        """The detail pane exists from 32 rows on."""
        self._detail.display = self._roomy
        self._draw()
        if self._roomy:
            self._load_detail()

    @property
    def _roomy(self) -> bool:
        return self.size.height >= DETAIL_FROM_ROWS

    # Data

    @property
    def _query(self) -> dict[str, Any]:
        query: dict[str, Any] = {**self._filter, "sort": SORTS[self._sort], "reverse": self._reverse}
        if self._problems:
            query.setdefault("state", "deferred")
        return query

    async def _fetch(self, offset: int, limit: int) -> Page[QueueRow] | None:
        answer = await self.desk.call("queue.list", **self._query, offset=offset, limit=limit)
        if answer is None:
            return None
        page = self._page = QueuePage.read(answer)
        self._live_total = page.total
        self._draw()
        return Page(page.total, page.rows)

    def wants(self) -> Sequence[Want]:
        """The whole in numbers, and the rows on the screen by id."""
        wants = [Want("queue.window", self._on_whole, {**self._query, "offset": 0, "limit": 1})]
        if self._watched:
            wants.append(
                Want(
                    "queue.window",
                    self._on_rows,
                    {"ids": list(self._watched), "sort": "next", "reverse": False, "offset": 0, "limit": 500},
                )
            )
        return wants

    def _on_whole(self, state: dict[str, Any]) -> None:
        page = QueuePage.read(state)
        self._live_total = page.total
        self._page = replace(self._page, summary=page.summary, by_destination=page.by_destination)
        if self._list.total == 0 and page.total:
            self._list.reload()
        self._draw()

    def _on_rows(self, state: dict[str, Any]) -> None:
        """Fresh values for the rows on the screen; those missing have left the queue."""
        page = QueuePage.read(state)
        fresh = {row.key: row for row in page.rows}
        if page.total > len(page.rows):
            self._list.update_rows(page.rows)
            return
        watched = set(self._watched)
        rows = [fresh.get(row.key, replace(row, gone=True)) for row in self._list.rows_shown() if row.id in watched]
        self._list.update_rows(rows)

    def shown(self) -> None:
        """First look, or back from somewhere."""
        self._list.reload()
        self._draw()

    def resync(self) -> None:
        """Fetch again, cursor kept."""
        self._list.reload()
        if self._roomy:
            self._load_detail()

    def _reopen(self, *, keep: bool) -> None:
        """Filter or order changed."""
        self._list.reload(keep=keep)
        self.desk.feeds.show(self.wants())
        self.desk.shell.redraw_frame()

    def _moved(self) -> None:
        """Cursor or window moved: watch what is visible, load the detail a moment later."""
        ids = tuple(dict.fromkeys(row.id for row in self._list.rows_shown() if not row.gone))
        if ids != self._watched:
            self._watched = ids
            self.set_timer(0.2, self._watch)
        self._draw()
        if self._roomy:
            self.set_timer(0.15, self._load_detail)

    def _watch(self) -> None:
        if self.display:
            self.desk.feeds.show(self.wants())

    def _load_detail(self) -> None:
        row = self._list.row
        if row is not None and row.id != self._shown_message.id:
            self.run_worker(self._fetch_detail(row.id), group="detail", exclusive=True)

    async def _fetch_detail(self, name: str) -> None:
        try:
            self._shown_message = Message.read(await self.desk.client.call("queue.show", {"id": name}))
        except CallError:
            # The message may have left the queue a moment ago; the list says so.
            self._shown_message = Message()
        self._draw()

    def tick(self, now: datetime) -> None:
        """Ages."""
        self._list.tick()

    def set_stale(self, stale: bool) -> None:
        """Grey the screen."""
        for part in (self._summary, self._foot, self._detail, self._list):
            part.set_stale(stale)

    # Drawing

    def crumb(self) -> tuple[str, str]:
        """Filter and order."""
        shown = self._filter_text or ("problems" if self._problems else "all")
        order = SORT_NAMES.get(SORTS[self._sort], SORTS[self._sort])
        return shown, f"sort: {order}{' reversed' if self._reverse else ''}"

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        self._summary.set_lines([self._sentence(), self._news()])
        self._foot.set_lines([BLANK, self._destinations()])
        if self._roomy:
            lines: list[Line] = [BLANK]
            if self._shown_message.id:
                lines += message_lines(self._shown_message, self.desk.now(), self.size.width, brief=True)
            self._detail.set_lines(lines[:DETAIL_ROWS])

    def _sentence(self) -> Line:
        if self._list.total is None:
            return ((" Asking the daemon.", "dim"),)
        if self._filter or self._problems:
            return (
                (f" {count(self._live_total)} of {count(self.desk.health.queue)} waiting match. ", "strong"),
                ("esc shows all", "dim"),
            )
        return ((" " + (self._page.summary or "Nothing is waiting."), "strong"),)

    def _news(self) -> Line:
        """Marks, and what changed since the list was fetched."""
        spans: list[tuple[str, str]] = []
        if self._list.all_marked:
            spans.append((f" All {count(self._list.total)} listed are marked.", "mark"))
        elif self._list.marks:
            spans.append((f" {count(len(self._list.marks))} marked.", "mark"))
        shown, live = self._list.total, self._live_total
        gone = sum(row.gone for row in self._list.rows_shown())
        if shown is not None and live is not None:
            more = live - shown + gone
            if more > 0:
                spans.append((f" +{count(more)} new,", "accent"))
            if gone:
                spans.append((f" {count(gone)} gone,", "dim"))
            elif more < 0:
                spans.append((f" {count(-more)} gone elsewhere,", "dim"))
            if more or gone:
                spans.append((" . to show", "dim"))
        return tuple(spans)

    def _destinations(self) -> Line:
        spans: list[tuple[str, str]] = [(" BY DESTINATION ", "head")]
        used = 17
        for domain, waiting in self._page.by_destination:
            text = f"  {domain} "
            if used + len(text) + 8 > self.size.width:
                break
            spans += [(text, "dim"), (count(waiting), "text")]
            used += len(text) + len(count(waiting))
        if len(spans) == 1:
            spans.append((" -", "faint"))
        return tuple(spans)

    def _empty(self) -> Sequence[Line]:
        if self._filter or self._problems:
            what = self._filter_text or "problems"
            return [((f"   0 of {count(self.desk.health.queue)} match {what!r} - esc shows all", "dim"),)]
        return [
            (("   Nothing is waiting. ", "strong"), ("Every message was delivered, bounced or dropped.", "dim")),
            (("   New rows appear here by themselves. 1 shows the last messages.", "dim"),),
        ]

    # Selection

    def refuse(self, action: Action) -> str:
        """Row actions need a row."""
        if action.scope in {"queue", "copy", "open"} and not self._list.all_marked and not self._list.chosen():
            return "there is no row"
        if action.scope == "queue" and not self._list.all_marked and all(row.gone for row in self._list.chosen()):
            return "it has left the queue"
        return ""

    def command_ids(self) -> str:
        """Ids of the marked rows, or the filter as options."""
        if self._list.all_marked:
            options = [
                f"--{name.replace('_seconds', '').replace('_', '-')} {value}"
                for name, value in self._filter.items()
                if name != "ids"
            ]
            return " ".join(options) or "--all"
        return " ".join(dict.fromkeys(row.id for row in self._list.chosen()))

    def _target(self) -> Target:
        rows = [row for row in self._list.chosen() if not row.gone]
        if self._list.all_marked:
            query = {name: value for name, value in self._query.items() if name not in {"sort", "reverse"}}
            return Target(query, f"all that match {self._filter_text!r}" if self._filter_text else "the whole list")
        return exact([(row.id, row.recipient) for row in rows], plural(len(rows), "row"))

    # Actions

    def _change(self, action: str) -> None:
        self.run_worker(self._actions.run(action, self._target()), group="apply")

    def do_queue_retry(self) -> None:
        """Try now."""
        self._change("retry")

    def do_queue_hold(self) -> None:
        """Hold, or release when all chosen rows are held."""
        chosen = self._list.chosen()
        held = bool(chosen) and not self._list.all_marked and all(row.state == "held" for row in chosen)
        self._change("release" if held else "hold")

    def do_queue_bounce(self) -> None:
        """Fail and tell the sender."""
        self._change("bounce")

    def do_queue_drop(self) -> None:
        """Delete silently."""
        self._change("drop")

    def do_open(self) -> None:
        """The message under the cursor."""
        if self._list.row is not None:
            self.desk.shell.open_page(MessagePage(self.desk, self._list.row.id))

    def do_list_menu(self) -> None:
        """What can be done with the row."""
        self.desk.shell.open_page(
            MenuPage(self.desk, "Actions", [a for a in self.desk.keys.within(("queue", "open", "copy"))], self)
        )

    def do_list_filter(self) -> None:
        """Type a filter."""
        self.desk.prompt.read(Entry("filter", submit=self._set_filter, text=self._filter_text, history=self._history))

    def _set_filter(self, text: str) -> None:
        try:
            self._filter = parse_filter(text)
        except ValueError as error:
            self.desk.prompt.say(str(error), "bad")
            return
        self._filter_text = " ".join(text.split())
        self._reopen(keep=False)

    def do_list_problems(self) -> None:
        """Only deferred rows, on and off."""
        self._problems = not self._problems
        self._reopen(keep=False)

    def do_list_sort(self) -> None:
        """Next order."""
        self._sort = (self._sort + 1) % len(SORTS)
        self._reopen(keep=False)

    def do_list_reverse(self) -> None:
        """The other way round."""
        self._reverse = not self._reverse
        self._reopen(keep=False)

    def do_list_show_new(self) -> None:
        """Fetch again."""
        self.resync()

    def do_list_mark(self) -> None:
        """Mark the row."""
        self._list.toggle_mark()
        self._draw()

    def do_list_mark_range(self) -> None:
        """Mark up to here."""
        if not self._list.mark_range():
            self.desk.prompt.say("Rows that are not loaded were not marked; * marks all listed.", "warn")
        self._draw()

    def do_list_mark_all(self) -> None:
        """Mark everything listed."""
        if self._list.total:
            self._list.mark_all()
            self.desk.prompt.say(
                f"All {count(self._list.total)} listed are marked. Actions use the filter and are refused if it changes. esc unmarks."
            )
            self._draw()

    def escape(self) -> bool:
        """Marks first, then the filter."""
        if self._list.marks or self._list.all_marked:
            self._list.clear_marks()
            self._draw()
            return True
        if self._filter or self._problems:
            self._filter, self._filter_text, self._problems = {}, "", False
            self._reopen(keep=False)
            return True
        return False

    def do_export(self) -> None:
        """Write the filtered view to a file."""
        query = self._query
        self._exporter.ask(
            lambda offset, limit: self.desk.client.call("queue.list", {**query, "offset": offset, "limit": limit}),
            "rows",
        )

    def do_copy_record(self) -> None:
        """The row under the cursor as text."""
        row = self._list.row
        if row is not None:
            text = f"{row.id} {row.state} from <{row.sender}> to <{row.recipient}> tries {row.attempts} last: {answer_text(row)} {row.host}".strip()
            self.desk.prompt.say(copy_message(text))
            self.desk.shell.write_terminal(osc52(text))

    def do_copy_block(self) -> None:
        """The rows on the screen as text."""
        now = self.desk.now()
        lines = [
            f"{row.id}\t{row.state}\t{clock(row.arrived_at, now)}\t{row.sender}\t{row.recipient}\t{answer_text(row)}"
            for row in self._list.rows_shown()
        ]
        text = "\n".join(lines)
        self.desk.prompt.say(copy_message(text))
        self.desk.shell.write_terminal(osc52(text))

    # Moving

    def do_move_down(self) -> None:
        """Next row."""
        self._list.move(1)

    def do_move_up(self) -> None:
        """Row before."""
        self._list.move(-1)

    def do_move_first(self) -> None:
        """First row."""
        self._list.go(0)

    def do_move_last(self) -> None:
        """Last row."""
        self._list.go((self._list.total or 1) - 1)

    def do_move_page_down(self) -> None:
        """A screen down."""
        self._list.page(1)

    def do_move_page_up(self) -> None:
        """A screen up."""
        self._list.page(-1)
