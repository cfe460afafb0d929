"""Deleted mail of one account: what clients expunged in the last days, newest first, and bringing it back."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.timer import Timer

from tui.account_models import DeletedMail
from tui.desk import Desk
from tui.export import Exporter
from tui.feeds import Want
from tui.format import clock, count, plural, size, size_words, stamp, until
from tui.keys import Action
from tui.keyset import KeysetRows
from tui.models import int_of
from tui.screens.list_view import MarkedListView
from tui.screens.queue_filter import duration
from tui.screens.undelete import Undelete
from tui.screens.view import PageView, facts, wrapped
from tui.terminal import copy_message, osc52
from tui.theme import Line
from tui.widgets.lines import BLANK, LineView
from tui.widgets.window_list import Column, Page, WindowList

EXPORT_FIELDS = ("id", "mailbox", "flags", "size_bytes", "received_at", "expunged_at", "from", "subject")
FIELDS = ("mailbox", "since")
DETAIL_FROM_ROWS = 32
DETAIL_ROWS = 8
DETAIL_SECONDS = 0.15
MOST_IDS = 10_000
MOST_SECONDS = 366 * 86_400


def columns_for(width: int) -> Sequence[Column[DeletedMail]]:
    """Columns of the list; a wide terminal gives names more room and adds the second."""
    wide = width >= 110
    return (
        Column(
            "DELETED",
            16 if wide else 7,
            lambda row, now: ((stamp if wide else clock)(row.deleted_at, now).strip(), "dim"),
        ),
        Column("LEFT", 4, left, "right"),
        Column("FROM", 30 if wide else 18, lambda row, _: (row.sender or "-", "text")),
        Column("SUBJECT", 0, lambda row, _: (row.subject or "(no subject)", "text" if row.subject else "faint")),
        Column("MAILBOX", 22 if wide else 12, lambda row, _: (row.mailbox or "-", "dim")),
        Column("SIZE", 5, lambda row, _: (size(row.size_bytes), "dim"), "right"),
    )


def left(row: DeletedMail, now: datetime) -> tuple[str, str]:
    """How long it can still come back; the last day is worth a look."""
    if row.ends_at is None:
        return "-", "dim"
    seconds = (row.ends_at - now).total_seconds()
    return ("0s" if seconds <= 0 else until(row.ends_at, now)), "warn" if seconds < 86_400 else "dim"


def parse_filter(text: str) -> dict[str, Any]:
    """`mailbox:"Sent Items" since:2d words of subject or sender`; raises ValueError with a sentence."""
    params: dict[str, Any] = {}
    words: list[str] = []
    try:
        parts = shlex.split(text, posix=True) if '"' in text else text.split()
    except ValueError:
        raise ValueError('A quotation mark is open; write mailbox:"Sent Items".') from None
    for word in parts:
        name, colon, value = word.partition(":")
        if not colon or name not in FIELDS:
            words.append(word)
        elif not value:
            raise ValueError(f"{name}: needs a value.")
        elif name == "since":
            params["since_seconds"] = min(duration(value), MOST_SECONDS)
        else:
            params["mailbox"] = value
    if words:
        params["text"] = " ".join(words)
    return params


def detail_lines(row: DeletedMail, now: datetime, kept_days: int, width: int) -> list[Line]:
    """Everything known about one message."""
    ends = f"for {until(row.ends_at, now)} more, of {kept_days} days" if row.ends_at else ""
    return [
        *wrapped(row.subject or "(no subject)", width, "strong")[:4],
        *facts(
            (
                ("from", row.sender),
                ("mailbox", row.mailbox),
                ("received", stamp(row.received_at, now).strip()),
                ("deleted", f"{stamp(row.deleted_at, now).strip()}, kept {ends}"),
                ("size", f"{size_words(row.size_bytes)}   flags: {' '.join(row.flags).lower() or 'none'}"),
                ("id", row.id),
            )
        ),
    ]


class DeletedMessagePage(PageView):
    """One deleted message in full; u brings it back."""

    NAME: ClassVar[str] = "deleted-message"
    TITLE: ClassVar[str] = "deleted message"
    SCOPES: ClassVar[Sequence[str]] = ("deleted", "find", "text", "copy", "move", "any")
    HINTS: ClassVar[Sequence[str]] = ("help", "deleted.restore", "copy.record", "escape")

    def __init__(self, desk: Desk, address: str, row: DeletedMail, kept_days: int) -> None:
        super().__init__(desk)
        self._address = address
        self._row = row
        self._kept_days = kept_days
        self._undelete = Undelete(desk, self._restored)

    def crumb(self) -> tuple[str, str]:
        """Its id."""
        return self._row.id, ""

    def shown(self) -> None:
        """Nothing more to load."""
        self.redraw()

    def content(self) -> Sequence[Line]:
        """Facts."""
        return detail_lines(self._row, self.desk.now(), self._kept_days, self.size.width)

    def command_ids(self) -> str:
        """Account and id."""
        return f"{self._address} --id {self._row.id}"

    def do_deleted_restore(self) -> None:
        """Bring it back."""
        target = {"address": self._address, "ids": [self._row.id]}
        self.desk.prompt.run_worker(self._undelete.run(target), group="apply")

    def _restored(self) -> None:
        if self.is_attached and self.display:
            self.desk.shell.close_page()

    def do_copy_record(self) -> None:
        """The whole page."""
        text = self.as_text()
        self.desk.prompt.say(copy_message(text))
        self.desk.shell.write_terminal(osc52(text))

    do_copy_block = do_copy_record


class DeletedMailPage(MarkedListView[DeletedMail]):
    """The list of what can come back."""

    NAME: ClassVar[str] = "deleted-mail"
    TITLE: ClassVar[str] = "deleted mail"
    SCOPES: ClassVar[Sequence[str]] = ("deleted", "open", "mark", "find", "list", "copy", "move", "any")
    PARSE = staticmethod(parse_filter)
    HINTS: ClassVar[Sequence[str]] = (
        "help",
        "list.filter",
        "open",
        "list.mark",
        "list.mark-all",
        "deleted.restore",
        "list.show-new",
        "export",
        "escape",
    )

    def __init__(self, desk: Desk, address: str) -> None:
        super().__init__(desk)
        self._address = address
        self._summary = LineView(desk.palette, height=2)
        self.rows = WindowList(
            desk.palette, columns=columns_for, fetch=self._fetch, now=desk.now, empty=self._empty, on_move=self._moved
        )
        self._detail = LineView(desk.palette, height=DETAIL_ROWS)
        self._pane: Timer | None = None
        self._keyset = KeysetRows(self._ask, "messages")
        self._where: dict[str, Any] = {}
        self._plan = ""
        self._kept_days = 0
        self._kept = (0, 0)
        self._shown_kept: int | None = None
        self._live_kept: int | None = None
        self._matching: int | None = None
        self._undelete = Undelete(desk, self._acted)
        self._exporter = Exporter(desk, "deleted-mail", EXPORT_FIELDS)

    def compose(self) -> ComposeResult:
        """Summary, list, and on tall terminals the message under the cursor."""
        yield self._summary
        yield self.rows
        yield self._detail

    def on_resize(self) -> None:
        """The detail pane exists from 32 rows on."""
        self._detail.display = self._roomy
        self.draw()

    @property
    def _roomy(self) -> bool:
        return self.size.height >= DETAIL_FROM_ROWS

    # Data

    @property
    def _query(self) -> dict[str, Any]:
        """The filter, and the plan: what this list shows, not what was deleted since."""
        return {"address": self._address, "plan": self._plan, **self._where}

    async def _ask(self, before: str, limit: int) -> dict[str, Any] | None:
        answer = await self.desk.call("retained.list", **self._query, before=before, limit=limit)
        if answer is not None:
            if not before and not self._plan:
                # The plan goes back as it came; it is never drawn.
                self._plan = str(answer.get("plan") or "")
                self._shown_kept = int_of(answer, "kept_messages")
            self._kept_days = int_of(answer, "kept_days")
            self._kept = int_of(answer, "kept_messages"), int_of(answer, "kept_bytes")
        return answer

    async def _fetch(self, offset: int, limit: int) -> Page[DeletedMail] | None:
        rows = await self._keyset.rows(offset, limit)
        if rows is None:
            return None
        if self._matching is None:
            self._matching = await self._count(offset + len(rows) if len(rows) < limit else None)
        if self._matching is None:
            return None
        return Page(max(self._matching, offset + len(rows)), [DeletedMail.read(row, self._kept_days) for row in rows])

    async def _count(self, known: int | None) -> int | None:
        """How many there are in the list; a filter makes the daemon count when they are many."""
        if known is not None:
            return known
        if not self.filter:
            return self._kept[0]
        plan = await self.desk.call("retained.plan", **self._query)
        return None if plan is None else int_of(plan, "messages")

    def wants(self) -> Sequence[Want]:
        """How many are kept."""
        return (Want("account", self._on_numbers, {"address": self._address}),)

    def _on_numbers(self, state: dict[str, Any]) -> None:
        self._live_kept = int_of(state, "kept_messages")
        if self.rows.total == 0 and self._live_kept and not self.filter:
            self._reload(keep=False)
        self.draw()

    def shown(self) -> None:
        """First look, or back from a message."""
        if not self.rows.all_marked:
            self._reload(keep=True)
        self.draw()

    def resync(self) -> None:
        """Fetch again, cursor kept."""
        self._reload(keep=True)

    def _reload(self, *, keep: bool) -> None:
        self.rows.clear_all_mark()  # what joins the list now was not meant
        self._keyset.forget()
        self._plan, self._matching = "", None
        self.rows.reload(keep=keep)

    def _acted(self) -> None:
        """What was asked for is back, or gone."""
        if self.is_attached:
            self.rows.clear_marks()
            self._reload(keep=True)

    def set_stale(self, stale: bool) -> None:
        """Grey the page."""
        for part in (self._summary, self.rows, self._detail):
            part.set_stale(stale)

    # Drawing

    def crumb(self) -> tuple[str, str]:
        """Whose, and the filter."""
        return self._address, self.filter_text or "newest first"

    def draw(self) -> None:
        """Sentence, news, and the message under the cursor."""
        if not self.is_mounted:
            return
        self._summary.set_lines([self._sentence(), self._news()])
        self._draw_detail()

    def _moved(self) -> None:
        """A walk through the list draws the pane once, where it ends."""
        if self.is_mounted:
            self._summary.set_lines([self._sentence(), self._news()])
            if self._roomy:
                if self._pane is not None:
                    self._pane.stop()
                self._pane = self.set_timer(DETAIL_SECONDS, self._draw_detail)

    def _draw_detail(self) -> None:
        row = self.rows.row
        if self._roomy:
            lines = [] if row is None else detail_lines(row, self.desk.now(), self._kept_days, self.size.width)
            self._detail.set_lines([BLANK, *lines][:DETAIL_ROWS])

    def _sentence(self) -> Line:
        if self.rows.total is None:
            return ((" Asking the daemon.", "dim"),)
        kept, kept_bytes = self._kept
        if self.filter:
            return (
                (f" {count(self.rows.total)} of {plural(kept, 'deleted message')} match. ", "strong"),
                ("esc shows all", "dim"),
            )
        if not kept:
            return ((" Nothing is kept of what was deleted.", "strong"),)
        text = f" {plural(kept, 'deleted message')}, {size_words(kept_bytes)}, can come back."
        return ((text, "strong"), (f" Each stays {plural(self._kept_days, 'day')} at most.", "dim"))

    def _news(self) -> Line:
        spans = self.marks_told()
        more = 0 if None in {self._live_kept, self._shown_kept} else (self._live_kept or 0) - (self._shown_kept or 0)
        if more:
            text = f" +{count(more)} new," if more > 0 else f" {count(-more)} gone,"
            spans += [(text, "accent"), (" . to show", "dim")]
        return tuple(spans)

    def _empty(self) -> Sequence[Line]:
        if self.filter:
            return [((f"   0 of {count(self._kept[0])} match {self.filter_text!r} - esc shows all", "dim"),)]
        if not self._kept_days:
            return [(("   Keeping deleted mail is switched off: retention.expunged_days is 0.", "dim"),)]
        return [
            ((f"   What is expunged from now on stays here for {plural(self._kept_days, 'day')},", "dim"),),
            (("   outside the quota, until space runs short. It appears by itself.", "dim"),),
        ]

    # Actions

    def refuse(self, action: Action) -> str:
        """Row actions need a row."""
        if action.scope in {"deleted", "copy", "open"} and not self.rows.all_marked and not self.rows.chosen():
            return "there is no message"
        return ""

    def command_ids(self) -> str:
        """The account with ids, or with the filter as options."""
        if self.rows.all_marked:
            names = {"text": "--search", "mailbox": "--mailbox", "since_seconds": "--since"}
            options = [
                f"{names[name]} {shlex.quote(f'{value}s' if name == 'since_seconds' else value)}"
                for name, value in self.filter.items()
            ]
            return " ".join([self._address, "--all", *options])
        return " ".join([self._address, *(f"--id {row.id}" for row in self.rows.chosen())])

    def do_deleted_restore(self) -> None:
        """Plan, question, restore."""
        if self.rows.all_marked:
            target = self._query
        else:
            ids = [row.id for row in self.rows.chosen()]
            if len(ids) > MOST_IDS:
                self.desk.prompt.say(f"More than {count(MOST_IDS)} are marked: use a filter and *.", "warn")
                return
            target = {"address": self._address, "ids": ids}
        self.desk.prompt.run_worker(self._undelete.run(target), group="apply")

    def do_open(self) -> None:
        """The message under the cursor."""
        if self.rows.row is not None:
            self.desk.shell.open_page(DeletedMessagePage(self.desk, self._address, self.rows.row, self._kept_days))

    def filter_changed(self) -> None:
        """Fetch with the new filter; a time in it counts from now."""
        self._where = {name: value for name, value in self.filter.items() if name != "since_seconds"}
        if seconds := self.filter.get("since_seconds"):
            since = self.desk.now() - timedelta(seconds=seconds)
            self._where["since"] = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._reload(keep=False)

    def do_list_show_new(self) -> None:
        """Fetch again, from the newest."""
        self._reload(keep=True)

    def escape(self) -> bool:
        """Marks first, then the filter."""
        if self.unmark():
            return True
        if not self.filter:
            return False
        self.set_filter("")
        return True

    def do_export(self) -> None:
        """Write the filtered view to a file."""
        query = self._query

        async def ask(before: str, limit: int) -> dict[str, Any]:
            return await self.desk.client.call("retained.list", {**query, "before": before, "limit": limit})

        listing = KeysetRows(ask, "messages")

        async def fetch(offset: int, limit: int) -> dict[str, Any]:
            return {"messages": await listing.rows(offset, limit) or [], "total": self.rows.total}

        self._exporter.ask(fetch, "messages")

    def record_text(self) -> str:
        """The message under the cursor as one line."""
        row = self.rows.row
        if row is None:
            return ""
        when = stamp(row.deleted_at, self.desk.now()).strip()
        return f"{row.id} deleted {when} from {row.mailbox}: {row.sender}: {row.subject}"

    def block_text(self) -> str:
        """The rows on the screen, tabs between the cells."""
        now = self.desk.now()
        cells = (
            (row.id, stamp(row.deleted_at, now).strip(), row.sender, row.subject, row.mailbox, size(row.size_bytes))
            for row in self.rows.rows_shown()
        )
        return "\n".join("\t".join(row) for row in cells)
