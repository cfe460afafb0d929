"""Outside addresses that failed for good, or that somebody named: nothing is sent to them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from tui.export import Exporter
from tui.format import clock, plural
from tui.keys import Action
from tui.models import rows_of
from tui.screens.queue_side import SidePage
from tui.sending_models import Suppression
from tui.theme import Line
from tui.widgets.prompt_row import Entry, Question
from tui.widgets.window_list import Column, Page

EXPORT_FIELDS = ("address", "days", "last_at", "text")


def parse_filter(text: str) -> dict[str, Any]:
    """Words that all occur in the address or in what its server said."""
    return {"words": text.lower().split()} if text.strip() else {}


class SuppressedPage(SidePage[Suppression]):
    """The page behind `C` in the queue."""

    NAME: ClassVar[str] = "suppressed"
    TITLE: ClassVar[str] = "suppressed addresses"
    SCOPES: ClassVar[Sequence[str]] = ("suppression", "find", "list", "copy", "move", "any")
    HINTS: ClassVar[Sequence[str]] = (
        "help",
        "list.filter",
        "suppression.add",
        "suppression.remove",
        "copy.record",
        "escape",
    )
    PARSE = staticmethod(parse_filter)

    def columns(self, width: int) -> list[Column[Suppression]]:
        """Each address with what its server said."""
        return [
            Column("ADDRESS", 40 if width >= 110 else 30, lambda row, _: (row.address, "text")),
            Column("BY", 7, lambda row, _: ("you" if not row.days else "failing", "dim")),
            Column("LAST", 6, lambda row, now: (clock(row.last_at, now), "dim")),
            Column("WHY", 0, lambda row, _: (row.text, "dim")),
        ]

    async def fetch(self, offset: int, limit: int) -> Page[Suppression] | None:
        """One answer holds the latest thousand."""
        found = await self.desk.call("suppression.list")
        if found is None:
            return None
        words = self.filter.get("words", ())
        rows = [Suppression.read(row) for row in rows_of(found, "suppressions")]
        rows = [row for row in rows if all(word in f"{row.address} {row.text}".lower() for word in words)]
        return Page(len(rows), rows[offset : offset + limit])

    def sentence(self) -> str:
        """How many there are."""
        total = self.rows.total or 0
        if not total:
            return "Mail is sent to every address."
        return f"Nothing is sent to {plural(total, 'address', 'addresses')}; your users hear of it at once."

    def detail(self) -> str:
        """The reason of the row under the cursor, whole."""
        return "" if self.rows.row is None else self.rows.row.text

    def empty(self) -> list[Line]:
        """When an address comes here."""
        if self.filter:
            return [((f"   Nothing matches {self.filter_text!r} - esc shows all", "dim"),)]
        return [
            (("   An address that its server refuses for good on three days comes here.", "dim"),),
            (("   a adds one: the address, then the reason.", "dim"),),
        ]

    def refuse(self, action: Action) -> str:
        """Removing and copying need a row."""
        needs_row = action.scope == "copy" or action.id == "suppression.remove"
        return "there is no row" if needs_row and self.rows.row is None else ""

    def do_suppression_add(self) -> None:
        """Type an address and a reason."""
        self.desk.prompt.read(Entry("send nothing to (address, then the reason)", submit=self._add))

    def _add(self, text: str) -> None:
        address, _, reason = text.strip().partition(" ")
        if not address:
            self.desk.prompt.say("Nothing was added: type an address.", "warn")
            return
        params = {"address": address, "reason": reason.strip()}
        self.start("suppression.add", params, f"Nothing is sent to {address} any more; D ends that.")

    def do_suppression_remove(self) -> None:
        """Ask, then send there again."""
        if (row := self.rows.row) is not None:
            said = f"Mail is sent to {row.address} again."
            start = partial(self.start, "suppression.remove", {"address": row.address}, said)
            self.desk.prompt.ask(Question(f"Send to {row.address} again?", {"y": start}))

    def do_export(self) -> None:
        """Write the list to a file."""

        async def fetch(offset: int, limit: int) -> dict[str, Any]:
            found = rows_of(await self.desk.client.call("suppression.list", {}), "suppressions")
            return {"suppressions": found[offset : offset + limit], "total": len(found)}

        Exporter(self.desk, "suppressed", EXPORT_FIELDS).ask(fetch, "suppressions")

    def command_line(self) -> str:
        """The same in a shell."""
        row = self.rows.row
        return "mailbox suppression list" if row is None else f"mailbox suppression remove {shlex.quote(row.address)}"

    def record_text(self) -> str:
        """The row under the cursor."""
        row = self.rows.row
        return "" if row is None else f"{row.address}\t{row.text}"

    def block_text(self) -> str:
        """The rows on the screen."""
        return "\n".join(f"{row.address}\t{row.text}" for row in self.rows.rows_shown())
