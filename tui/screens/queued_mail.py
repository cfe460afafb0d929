"""Queue: who waits, for whom, why; hold, retry, bounce, drop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from textual.app import ComposeResult

from tui.client import CallError
from tui.desk import Desk
from tui.export import Exporter
from tui.feeds import Want
from tui.format import clock, count, plural
from tui.keys import Action
from tui.models import rows_of
from tui.queue_models import Finished, Message, QueuePage, QueueRow
from tui.screens.list_view import MarkedListView
from tui.screens.message import MessagePage, message_lines
from tui.screens.queue_actions import QueueActions, Target, exact
from tui.screens.queue_columns import answer_text, columns_for, destinations_line
from tui.screens.queue_filter import parse_filter
from tui.screens.queue_views import QueueViews
from tui.screens.trace import TracePage
from tui.screens.view import wrapped
from tui.theme import Line
from tui.widgets.lines import BLANK, LineView
from tui.widgets.window_list import Page, WindowList
from tui.workers import begin

SORTS = ("next", "age", "size", "from", "to", "attempts")
SORT_NAMES = {"next": "next try", "attempts": "tries"}
DETAIL_FROM_ROWS = 32
DETAIL_ROWS = 11
EXPORT_FIELDS = ("id", "state", "next_at", "arrived_at", "attempts", "size_bytes", "from", "to", "code", "last", "host")


class QueueScreen(QueueViews, MarkedListView[QueueRow]):
    """The list of waiting recipients."""

    NAME: ClassVar[str] = "queue"
    TITLE: ClassVar[str] = "Queue"
    DIGIT: ClassVar[str] = "2"
    SCOPES: ClassVar[Sequence[str]] = (
        "queue",
        "queue-views",
        "trace",
        "open",
        "mark",
        "find",
        "list",
        "sort",
        "problems",
        "copy",
        "move",
        "any",
    )
    PARSE = staticmethod(parse_filter)
    HINTS: ClassVar[Sequence[str]] = (
        "help",
        "list.filter",
        "open",
        "list.mark",
        "queue.hold",
        "queue.retry",
        "queue.bounce",
        "queue.drop",
        "queue.history",
        "queue.rules",
        "queue.places",
        "queue.route",
        "queue.keys",
        "queue.suppressed",
        "trace",
        "list.problems",
        "list.sort",
        "export",
        "list.menu",
    )

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        palette = desk.palette
        self._summary = LineView(palette, height=2)
        self.rows = WindowList(
            palette, columns=columns_for, fetch=self._fetch, now=desk.now, empty=self._empty, on_move=self._moved
        )
        self._foot = LineView(palette, height=3)
        self._detail = LineView(palette, height=DETAIL_ROWS)
        self._sort = 0
        self._reverse = False
        self._problems = False
        self._page = QueuePage()
        self._live_total: int | None = None
        self._watched: tuple[str, ...] = ()
        self._fetched = 0
        self._generation = 0
        self._shown_message = Message()
        self._last: Finished | None = None
        self._actions = QueueActions(desk, self._acted)
        self._exporter = Exporter(desk, "queue", EXPORT_FIELDS)

    def compose(self) -> ComposeResult:
        """Summary, list, destinations, and on tall terminals the message under the cursor."""
        yield self._summary
        yield self.rows
        yield self._foot
        yield self._detail

    def on_resize(self) -> None:
        """The detail pane exists from 32 rows on."""
        self._detail.display = self._roomy
        self.draw()
        self._load_detail()

    @property
    def _roomy(self) -> bool:
        return self.size.height >= DETAIL_FROM_ROWS

    # Data

    @property
    def _query(self) -> dict[str, Any]:
        return {"filter": self._where, "sort": SORTS[self._sort], "reverse": self._reverse}

    @property
    def _where(self) -> dict[str, Any]:
        return {"state": "deferred", **self.filter} if self._problems else dict(self.filter)

    async def _fetch(self, offset: int, limit: int) -> Page[QueueRow] | None:
        answer = await self.desk.call("queue.list", **self._query, offset=offset, limit=limit)
        if answer is None:
            return None
        self._fetched += 1
        page = self._page = QueuePage.read(answer)
        self._live_total = page.total
        if not page.total and not self._where:
            await self._load_last()
        self.draw()
        return Page(page.total, page.rows)

    async def _load_last(self) -> None:
        """An empty queue tells what went last."""
        try:
            answer = await self.desk.client.call("queue.history", {"filter": {}, "offset": 0, "limit": 1})
        except CallError:  # an older daemon: the sentence is left out
            return
        self._last = next((Finished.read(row) for row in rows_of(answer, "rows")), None)

    def wants(self) -> Sequence[Want]:
        """The whole in numbers, and the rows on the screen by id."""
        wants = [Want("queue.window", self._on_whole, {**self._query, "offset": 0, "limit": 1})]
        if self._watched:
            rows = {"filter": {"ids": list(self._watched)}, "sort": "next", "reverse": False, "offset": 0, "limit": 500}
            wants.append(Want("queue.window", self._on_rows, rows, generation=self._generation))
        return wants

    def _on_whole(self, state: dict[str, Any]) -> None:
        page = QueuePage.read(state)
        self._live_total = page.total
        self._page = replace(self._page, summary=page.summary, by_destination=page.by_destination)
        if self.rows.total == 0 and page.total:
            self.rows.reload()
        self.draw()

    def _on_rows(self, state: dict[str, Any]) -> None:
        """Fresh values for the rows on the screen; those missing have left the queue."""
        page = QueuePage.read(state)
        fresh = {row.key: row for row in page.rows}
        if page.total > len(page.rows):
            self.rows.update_rows(page.rows)
            return
        watched = set(self._watched)
        rows = [fresh.get(row.key, replace(row, gone=True)) for row in self.rows.rows_shown() if row.id in watched]
        self.rows.update_rows(rows)
        self.draw()

    def shown(self) -> None:
        """First look, or back from somewhere."""
        self.rows.reload()
        self.draw()

    def resync(self) -> None:
        """Fetch again, cursor kept."""
        self.rows.reload()
        self._shown_message = Message()
        self._load_detail()

    def _acted(self) -> None:
        """After an action: what joins the list later must not be marked by it."""
        self.rows.clear_all_mark()
        self.resync()

    def _reopen(self, *, keep: bool) -> None:
        """Filter or order changed."""
        self.rows.reload(keep=keep)
        self.desk.feeds.show(self.wants())
        self.desk.shell.redraw_frame()

    def _moved(self) -> None:
        """Cursor or window moved: watch what is visible, load the detail a moment later."""
        ids = tuple(dict.fromkeys(row.id for row in self.rows.rows_shown() if not row.gone))
        if (ids, self._fetched) != (self._watched, self._generation):
            # An answer that overtook a delta may be older than it: a new subscription starts from the present state.
            self._watched, self._generation = ids, self._fetched
            self.set_timer(0.2, self._watch)
        self.draw()
        self.set_timer(0.15, self._load_detail)

    def _watch(self) -> None:
        if self.display:
            self.desk.feeds.show(self.wants())

    def _load_detail(self) -> None:
        row = self.rows.row
        if row is not None and row.id != self._shown_message.id:
            begin(self, partial(self._fetch_detail, row.id), "detail")

    async def _fetch_detail(self, name: str) -> None:
        try:
            self._shown_message = Message.read(await self.desk.client.call("queue.show", {"id": name}))
        except CallError:
            # The message may have left the queue a moment ago; the list says so.
            self._shown_message = Message()
        self.draw()

    def set_stale(self, stale: bool) -> None:
        """Grey the screen."""
        for part in (self._summary, self._foot, self._detail, self.rows):
            part.set_stale(stale)

    # Drawing

    def crumb(self) -> tuple[str, str]:
        """Filter and order."""
        shown = self.filter_text or ("problems" if self._problems else "all")
        order = SORT_NAMES.get(SORTS[self._sort], SORTS[self._sort])
        return shown, f"sort: {order}{' reversed' if self._reverse else ''}"

    def draw(self) -> None:
        """Everything around the list."""
        if not self.is_mounted:
            return
        self._summary.set_lines([self._sentence(), self._news()])
        self._foot.set_lines([*self._why(), destinations_line(self._page.by_destination, self.size.width)])
        if self._roomy:
            lines: list[Line] = [BLANK]
            if self._shown_message.id:
                lines += message_lines(self._shown_message, self.desk.now(), self.size.width, brief=True)
            self._detail.set_lines(lines[:DETAIL_ROWS])

    def _sentence(self) -> Line:
        if self.rows.total is None:
            return ((" Asking the daemon.", "dim"),)
        if self.filter or self._problems:
            return (
                (f" {count(self._live_total)} of {count(self.desk.health.queue)} waiting match. ", "strong"),
                ("esc shows all", "dim"),
            )
        return ((" " + (self._page.summary or "Nothing is waiting."), "strong"),)

    def _news(self) -> Line:
        """Marks, and what changed since the list was fetched."""
        spans = self.marks_told()
        shown, live = self.rows.total, self._live_total
        gone = sum(row.gone for row in self.rows.rows_shown())
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

    def _why(self) -> list[Line]:
        """Two lines: why the row under the cursor waits, what answered last, when it goes; the detail pane has it too."""
        row = self.rows.row
        if row is None or row.gone or self._roomy or row.id != self._shown_message.id:
            return [BLANK, BLANK]
        own = next((each.why for each in self._shown_message.recipients if each.key == row.key and each.why), "")
        lines = wrapped(own or self._shown_message.why, self.size.width, "accent")[:2]
        return [*lines, BLANK][:2]

    def _empty(self) -> Sequence[Line]:
        if self.filter or self._problems:
            what = self.filter_text or "problems"
            return [((f"   0 of {count(self.desk.health.queue)} match {what!r} - esc shows all", "dim"),)]
        last = self._last
        told = "   Every message was delivered, bounced or dropped."
        if last is not None:
            code = f" ({last.code})" if last.code else ""
            told = f"   The last one, {clock(last.finished_at, self.desk.now())}: {last.fate}, {last.recipient}{code}."
        return [
            ((told, "text"),),
            (("   t shows what has left; new mail appears here by itself.", "dim"),),
        ]

    # Selection

    def refuse(self, action: Action) -> str:
        """Row actions need a row."""
        if action.id == "trace" and not self.rows.total:
            return ""
        if action.scope in {"queue", "copy", "open", "trace"} and not self.rows.all_marked and not self.rows.chosen():
            return "there is no row"
        if action.scope == "queue" and not self.rows.all_marked and all(row.gone for row in self.rows.chosen()):
            return "it has left the queue"
        return ""

    def command_ids(self) -> str:
        """Ids of the marked rows, or the filter as options."""
        if self.rows.all_marked:
            options = [
                f"--{name.replace('_seconds', '').replace('_', '-')} {value}"
                for name, value in self.filter.items()
                if name != "ids"
            ]
            return " ".join(options) or "--all"
        return " ".join(dict.fromkeys(row.id for row in self.rows.chosen()))

    def _target(self) -> Target:
        rows = [row for row in self.rows.chosen() if not row.gone]
        if self.rows.all_marked:
            return Target(
                {"filter": self._where},
                f"all that match {self.filter_text!r}" if self.filter_text else "the whole list",
            )
        return exact([(row.id, row.recipient) for row in rows], plural(len(rows), "row"))

    # Actions

    def _change(self, action: str) -> None:
        self.run_worker(self._actions.run(action, self._target()), group="apply")

    def do_queue_retry(self) -> None:
        """Try now."""
        self._change("retry")

    def do_queue_hold(self) -> None:
        """Hold, or release when all chosen rows are held."""
        chosen = self.rows.chosen()
        held = bool(chosen) and not self.rows.all_marked and all(row.state == "held" for row in chosen)
        self._change("release" if held else "hold")

    def do_queue_bounce(self) -> None:
        """Fail and tell the sender."""
        self._change("bounce")

    def do_queue_drop(self) -> None:
        """Delete silently."""
        self._change("drop")

    def do_queue_route(self) -> None:
        """Another way for the chosen rows."""
        self._actions.route(self._target())

    def do_open(self) -> None:
        """The message under the cursor."""
        if self.rows.row is not None:
            self.desk.shell.open_page(MessagePage(self.desk, self.rows.row.id))

    def do_trace(self) -> None:
        """Why it is here, and what happened to it; of an empty queue what has left."""
        if self.rows.row is not None:
            self.desk.shell.open_page(TracePage(self.desk, self.rows.row.id))
        elif not self.rows.total:
            self.do_queue_history()

    def filter_changed(self) -> None:
        """Fetch with the new filter."""
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

    def escape(self) -> bool:
        """Marks first, then the filter."""
        if self.unmark():
            return True
        if self.filter or self._problems:
            self.filter, self.filter_text, self._problems = {}, "", False
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

    def record_text(self) -> str:
        """The row under the cursor as one line."""
        row = self.rows.row
        if row is None:
            return ""
        last = f"{answer_text(row)} {row.host}".strip()
        return f"{row.id} {row.state} from <{row.sender}> to <{row.recipient}> tries {row.attempts} last: {last}"

    def block_text(self) -> str:
        """The rows on the screen, tabs between the cells."""
        now = self.desk.now()
        cells = (
            (row.id, row.state, clock(row.arrived_at, now), row.sender, row.recipient, answer_text(row))
            for row in self.rows.rows_shown()
        )
        return "\n".join("\t".join(row) for row in cells)
