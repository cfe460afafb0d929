"""What was refused by its score and is kept for one account, and putting it into the inbox after all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from textual.app import ComposeResult

from tui.client import CallError
from tui.desk import Desk
from tui.export import Exporter
from tui.format import clock, plural, size, stamp
from tui.keys import Action
from tui.models import int_of, rows_of, text_of, when_of
from tui.screens.list_view import MarkedListView
from tui.theme import Line
from tui.widgets.lines import LineView
from tui.widgets.prompt_row import Question
from tui.widgets.window_list import Column, Page, WindowList

EXPORT_FIELDS = ("uid", "refused_at", "size_bytes", "from", "subject")
MOST_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Reject:
    """One refused message."""

    uid: int
    refused_at: datetime | None
    size_bytes: int
    sender: str
    subject: str

    @property
    def key(self) -> int:
        """Its number in the mailbox."""
        return self.uid

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Reject:
        """From `rejects.list`."""
        at, sender = when_of(row, "refused_at"), text_of(row, "from")
        return cls(int_of(row, "uid"), at, int_of(row, "size_bytes"), sender, text_of(row, "subject"))


COLUMNS: Sequence[Column[Reject]] = (
    Column("WHEN", 6, lambda row, now: (clock(row.refused_at, now), "dim")),
    Column("SIZE", 5, lambda row, now: (size(row.size_bytes), "dim"), "right"),
    Column("FROM", 0, lambda row, now: (row.sender or "-", "text")),
    Column("SUBJECT", 0, lambda row, now: (row.subject or "-", "text")),
)


class RejectsPage(MarkedListView[Reject]):
    """The page behind `f` on an account."""

    NAME: ClassVar[str] = "rejects"
    TITLE: ClassVar[str] = "refused"
    SCOPES: ClassVar[Sequence[str]] = ("rejects", "mark", "list", "copy", "move", "any")
    HINTS: ClassVar[Sequence[str]] = ("help", "list.mark", "rejects.recover", "copy.record", "export", "escape")

    def __init__(self, desk: Desk, address: str) -> None:
        super().__init__(desk)
        self._address = address
        self._summary = LineView(desk.palette, height=2)
        self.rows = WindowList(
            desk.palette,
            columns=lambda _: COLUMNS,
            fetch=self._fetch,
            now=desk.now,
            empty=self._empty,
            on_move=self.draw,
        )
        self._uidvalidity = 0
        self._days = 0
        self._mailbox = ""
        self._exporter = Exporter(desk, "rejects", EXPORT_FIELDS)

    def compose(self) -> ComposeResult:
        """Summary and list."""
        yield self._summary
        yield self.rows

    def crumb(self) -> tuple[str, str]:
        """Whose."""
        return self._address, "newest first"

    async def _fetch(self, offset: int, limit: int) -> Page[Reject] | None:
        answer = await self.desk.call("rejects.list", address=self._address, offset=offset, limit=limit)
        if answer is None:
            return None
        self._uidvalidity, self._days = int_of(answer, "uidvalidity"), int_of(answer, "kept_days")
        self._mailbox = text_of(answer, "mailbox")
        return Page(int_of(answer, "total"), [Reject.read(row) for row in rows_of(answer, "rejects")])

    def shown(self) -> None:
        """First look."""
        self.rows.reload()
        self.draw()

    def resync(self) -> None:
        """Fetch again, cursor kept."""
        self.rows.reload()

    def do_list_show_new(self) -> None:
        """Fetch again."""
        self.rows.reload()

    def escape(self) -> bool:
        """The marks."""
        return self.unmark()

    def set_stale(self, stale: bool) -> None:
        """Grey the page."""
        self._summary.set_stale(stale)
        self.rows.set_stale(stale)

    def draw(self) -> None:
        """What is kept, and the marks."""
        if not self.is_mounted:
            return
        total = self.rows.total
        line: Line = ((" Asking the daemon.", "dim"),)
        if total is not None:
            kept = f"each for {self._days} days, in the mailbox {self._mailbox}"
            told = f"{plural(total, 'message')} refused by the score; {kept}." if total else "Nothing is kept."
            line = ((f" {told}", "strong"),)
        self._summary.set_lines([line, tuple(self.marks_told())])

    def _empty(self) -> Sequence[Line]:
        if not self._mailbox:
            return [(("   Refused mail is not kept here: junk.rejects_mailbox is empty.", "dim"),)]
        return [
            (("   No mail to this account was refused by its score. ", "strong"),),
            (("   Log (3) shows all that was refused: outcome:refused with the address.", "dim"),),
        ]

    def refuse(self, action: Action) -> str:
        """Row actions need a row."""
        needs_row = action.scope in {"rejects", "copy"} and not self.rows.all_marked
        return "there is no row" if needs_row and not self.rows.chosen() else ""

    def command_line(self) -> str:
        """The same in a shell."""
        chosen = " ".join(f"--recover {row.uid}" for row in self.rows.chosen())
        return f"mailbox junk rejects {self._address} {chosen}".strip()

    def do_list_mark_all(self) -> None:
        """Only rows that are here can be told to the daemon one by one."""
        self.desk.prompt.say("Mark with space and V: what is delivered is named one by one.", "dim")

    def do_rejects_recover(self) -> None:
        """One at once; several are counted first."""
        uids = [row.uid for row in self.rows.chosen()][:MOST_AT_ONCE]
        if len(uids) == 1:
            self._go(uids)
        else:
            what = f"Put {plural(len(uids), 'message')} into the inbox?"
            self.desk.prompt.ask(Question(what, {"y": lambda: self._go(uids)}))

    def _go(self, uids: Sequence[int]) -> None:
        self.desk.prompt.run_worker(self._recover(uids), group="apply")

    async def _recover(self, uids: Sequence[int]) -> None:
        prompt = self.desk.prompt
        if reason := self.desk.refuse_change():
            prompt.say(reason, "bad")
            return
        params = {"address": self._address, "uidvalidity": self._uidvalidity, "uids": list(uids)}
        try:
            answer = await self.desk.client.call("rejects.recover", params)
        except CallError as error:
            prompt.say(error.sentence(), "bad")
        else:
            gone = f"; {int_of(answer, 'left_out')} gone already" if int_of(answer, "left_out") else ""
            done = plural(int_of(answer, "recovered"), "message")
            prompt.say(f"{done} put into the inbox{gone}; the classifier learns.", "ok")
        self.rows.clear_marks()
        self.rows.reload()

    def do_export(self) -> None:
        """Write the list to a file."""
        self._exporter.ask(
            lambda offset, limit: self.desk.client.call(
                "rejects.list", {"address": self._address, "offset": offset, "limit": limit}
            ),
            "rejects",
        )

    def record_text(self) -> str:
        """The row under the cursor."""
        return "" if self.rows.row is None else self._text(self.rows.row)

    def block_text(self) -> str:
        """All rows on the screen."""
        return "\n".join(self._text(row) for row in self.rows.rows_shown())

    def _text(self, row: Reject) -> str:
        return "\t".join((self._address, stamp(row.refused_at, self.desk.now()).strip(), row.sender, row.subject))
