"""What has left the queue: delivered, given up, returned, dropped; the latest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from tui.desk import Desk
from tui.export import Exporter
from tui.format import clock, count
from tui.models import rows_of
from tui.queue_models import Finished
from tui.screens.message import FATE_ROLES, MessagePage
from tui.screens.queue_filter import parse_filter
from tui.screens.queue_side import SidePage
from tui.screens.trace import TracePage
from tui.theme import Line
from tui.widgets.window_list import Column, Page

EXPORT_FIELDS = ("finished_at", "id", "from", "to", "fate", "attempts", "code", "text", "host", "tls", "size_bytes")


def parse(text: str) -> dict[str, Any]:
    """As in the queue, without the state."""
    found = parse_filter(text)
    if "state" in found:
        raise ValueError("What has left the queue has no state; words find an answer.")
    return found


class HistoryPage(SidePage[Finished]):
    """The page behind `H` in the queue."""

    NAME: ClassVar[str] = "queue-history"
    TITLE: ClassVar[str] = "what left"
    SCOPES: ClassVar[Sequence[str]] = ("trace", "open", "find", "list", "copy", "move", "any")
    HINTS: ClassVar[Sequence[str]] = ("help", "list.filter", "open", "trace", "copy.record", "export", "escape")
    PARSE = staticmethod(parse)
    ROW_SCOPES = frozenset({"copy", "open", "trace"})

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._more = True
        self._length = 0
        """How many are known, and one page more while more follow."""
        self._exporter = Exporter(desk, "queue-history", EXPORT_FIELDS)

    def crumb(self) -> tuple[str, str]:
        """The filter."""
        return self.filter_text or "all", "newest first"

    def columns(self, width: int) -> list[Column[Finished]]:
        """A wide terminal adds the id and the host."""
        wide = width >= 110
        columns: list[Column[Finished]] = [
            Column("LEFT", 6, lambda row, now: (clock(row.finished_at, now), "dim")),
            Column("HOW", 9, lambda row, _: (row.fate, FATE_ROLES.get(row.fate, "text"))),
            Column("TRY", 3, lambda row, _: (str(row.attempts), "dim"), "right"),
            Column("FROM", 22 if wide else 16, lambda row, _: (row.sender or "<>", "text")),
            Column("TO", 24 if wide else 18, lambda row, _: (row.recipient, "text")),
            Column("ANSWER", 0, lambda row, _: (answer(row), "dim")),
        ]
        if wide:
            columns.insert(0, Column("ID", 13, lambda row, _: (row.id, "dim")))
            columns.insert(-1, Column("HOST", 20, lambda row, _: (row.host, "dim")))
        return columns

    async def fetch(self, offset: int, limit: int) -> Page[Finished] | None:
        """The daemon does not count them: the list is as long as what is known, and one page more while there is more."""
        found = await self.desk.call("queue.history", filter=dict(self.filter), offset=offset, limit=limit)
        if found is None:
            return None
        rows = [Finished.read(row) for row in rows_of(found, "rows")]
        known = offset + len(rows)
        if not found.get("more"):
            self._length, self._more = known, False
        elif self._more:
            self._length = max(self._length, known + limit)
        if self.rows.total:  # it grows as one goes on; the first page comes with its own
            self.rows.total = self._length
        return Page(self._length, rows)

    def filter_changed(self) -> None:
        """Another list: nothing is known of its length."""
        self._length, self._more = 0, True
        super().filter_changed()

    def sentence(self) -> str:
        """How much is listed."""
        total = f"more than {count(self.rows.total)}" if self._more else count(self.rows.total)
        match = f" that match {self.filter_text!r}; esc shows all" if self.filter else ""
        return f"{total} recipients left the queue in the last 30 days{match}."

    def detail(self) -> str:
        """The answer to the row under the cursor, whole."""
        row = self.rows.row
        return "" if row is None else f"{row.host or 'no server'}: {answer(row)}"

    def empty(self) -> list[Line]:
        """Nothing yet, or nothing that matches."""
        if self.filter:
            return [((f"   Nothing that left the queue matches {self.filter_text!r} - esc shows all", "dim"),)]
        return [
            (("   Nothing has left the queue yet.", "dim"),),
            (("   What was delivered or given up is listed here for 30 days.", "dim"),),
        ]

    def do_open(self) -> None:
        """Its whole story."""
        if self.rows.row is not None:
            self.desk.shell.open_page(MessagePage(self.desk, self.rows.row.id))

    def do_trace(self) -> None:
        """What was decided about it."""
        if self.rows.row is not None:
            self.desk.shell.open_page(TracePage(self.desk, self.rows.row.id))

    def do_export(self) -> None:
        """Write the filtered list to a file."""
        where = dict(self.filter)
        self._exporter.ask(
            lambda offset, limit: self.desk.client.call(
                "queue.history", {"filter": where, "offset": offset, "limit": limit}
            ),
            "rows",
        )

    def command_line(self) -> str:
        """The same in a shell."""
        row = self.rows.row
        return "mailbox queue history" if row is None else f"mailbox queue show {row.id}"

    def record_text(self) -> str:
        """The row under the cursor."""
        return "" if self.rows.row is None else self._text(self.rows.row)

    def block_text(self) -> str:
        """The rows on the screen."""
        return "\n".join(self._text(row) for row in self.rows.rows_shown())

    def _text(self, row: Finished) -> str:
        left = clock(row.finished_at, self.desk.now())
        return "\t".join((row.id, left, row.fate, row.sender, row.recipient, answer(row)))


def answer(row: Finished) -> str:
    """The last answer with its code, once."""
    return row.text if not row.code or row.text.startswith(str(row.code)) else f"{row.code} {row.text}"
