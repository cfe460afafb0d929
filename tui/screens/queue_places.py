"""Where no mail goes for now: what an operator paused, and hosts that are passed over because they fail."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, ClassVar

from tui.export import Exporter
from tui.format import age, plural, until
from tui.keys import Action
from tui.models import rows_of
from tui.queue_models import Place
from tui.screens.queue_side import SidePage
from tui.theme import Line
from tui.widgets.prompt_row import Entry, Question
from tui.widgets.window_list import Column, Page

EXPORT_FIELDS = ("state", "host", "since", "next_probe", "failures", "why")
ROLES = {"paused": "mark", "open": "bad", "half-open": "warn", "closed": "ok"}
WHOLE = "(all mail)"


def parse_filter(text: str) -> dict[str, Any]:
    """Words that all occur in the name or the reason."""
    return {"words": text.lower().split()} if text.strip() else {}


class PlacesPage(SidePage[Place]):
    """The page behind `B` in the queue."""

    NAME: ClassVar[str] = "queue-places"
    TITLE: ClassVar[str] = "paused and failing"
    SCOPES: ClassVar[Sequence[str]] = ("queue-place", "find", "list", "copy", "move", "any")
    HINTS: ClassVar[Sequence[str]] = (
        "help",
        "list.filter",
        "queue-place.pause",
        "queue-place.end",
        "queue-place.probe",
        "copy.record",
        "escape",
    )
    PARSE = staticmethod(parse_filter)

    def columns(self, width: int) -> list[Column[Place]]:
        """Pauses first, then hosts."""
        return [
            Column("ST", 9, lambda row, _: (row.state, ROLES.get(row.state, "text"))),
            Column("SINCE", 5, lambda row, now: (age(row.since, now), "dim"), "right"),
            Column("PROBE", 5, lambda row, now: (until(row.next_at, now), "text"), "right"),
            Column("WHERE", 34 if width >= 110 else 22, lambda row, _: (row.name or WHOLE, "text")),
            Column("WHY", 0, lambda row, _: (row.why, "dim")),
        ]

    async def fetch(self, offset: int, limit: int) -> Page[Place] | None:
        """Both kinds in one list: they are a few hundred at most."""
        pauses = await self.desk.call("queue.pauses")
        hosts = await self.desk.call("breaker.list")
        if pauses is None or hosts is None:
            return None
        found = [Place.of_pause(row) for row in rows_of(pauses, "pauses")]
        found += [Place.of_host(row) for row in rows_of(hosts, "breakers")]
        words = self.filter.get("words", ())
        chosen = [each for each in found if all(word in f"{each.name} {each.why}".lower() for word in words)]
        return Page(len(chosen), chosen[offset : offset + limit])

    def sentence(self) -> str:
        """What is listed."""
        rows = self.rows.rows_shown()
        if any(row.kind == "pause" and not row.name for row in rows):
            return "All delivery is paused: mail is taken in and waits. D on the first row ends it."
        total = self.rows.total or 0
        return (
            f"{plural(total, 'place')} that mail does not go to, or that failed lately."
            if total
            else "Mail goes everywhere."
        )

    def detail(self) -> str:
        """Why mail does not go to the row under the cursor, whole."""
        return "" if self.rows.row is None else self.rows.row.why

    def empty(self) -> list[Line]:
        """What would stand here."""
        if self.filter:
            return [((f"   Nothing matches {self.filter_text!r} - esc shows all", "dim"),)]
        return [
            (("   No delivery is paused, and no host of other servers fails.", "dim"),),
            (("   a pauses delivery to a domain, or all delivery.", "dim"),),
        ]

    def refuse(self, action: Action) -> str:
        """Ending needs a row, probing a host that is passed over."""
        row = self.rows.row
        if row is None and (action.scope == "copy" or action.id in {"queue-place.end", "queue-place.probe"}):
            return "there is no row"
        if action.id == "queue-place.probe" and row is not None and row.kind != "host":
            return "it is paused by an operator, D ends that"
        return ""

    def do_queue_place_pause(self) -> None:
        """Type a domain and a reason."""
        self.desk.prompt.read(Entry("pause (a domain or all, then the reason)", submit=self._pause))

    def _pause(self, text: str) -> None:
        domain, _, reason = text.strip().partition(" ")
        if not domain:
            self.desk.prompt.say("Nothing was paused: type a domain, or the word all.", "warn")
            return
        if domain != "all":
            params = {"domain": domain, "reason": reason.strip()}
            self.start("queue.pause", params, f"Delivery to {domain} is paused; D ends that.")
            return
        params = {"domain": "", "reason": reason.strip()}
        said = "All delivery is paused; D ends that."
        self.desk.prompt.ask(Question("Pause all delivery?", {"y": lambda: self.start("queue.pause", params, said)}))

    def do_queue_place_end(self) -> None:
        """Resume at once; forgetting a host's failures lets all its mail go, so that is asked."""
        row = self.rows.row
        if row is None:
            return
        if row.kind == "pause":
            self.start("queue.resume", {"domain": row.name}, f"Mail to {row.name or 'everywhere'} is delivered again.")
            return
        what = f"Forget the failures of {row.name}? All mail for it is tried now."
        self.desk.prompt.ask(
            Question(what, {"y": lambda: self.start("breaker.reset", {"host": row.name}, "Forgotten.")})
        )

    def do_queue_place_probe(self) -> None:
        """One message tries it."""
        if (row := self.rows.row) is not None:
            self.start("breaker.probe", {"host": row.name}, "One message tries it now.")

    def do_export(self) -> None:
        """Write the list to a file."""

        async def fetch(offset: int, limit: int) -> dict[str, Any]:
            pauses = rows_of(await self.desk.client.call("queue.pauses", {}), "pauses")
            hosts = rows_of(await self.desk.client.call("breaker.list", {}), "breakers")
            found = [
                {"state": "paused", "host": row.get("domain") or WHOLE, "why": row.get("reason")} for row in pauses
            ]
            found += [dict(row) for row in hosts]
            return {"places": found[offset : offset + limit], "total": len(found)}

        Exporter(self.desk, "queue-places", EXPORT_FIELDS).ask(fetch, "places")

    def command_line(self) -> str:
        """The same in a shell."""
        row = self.rows.row
        if row is None:
            return "mailbox queue pause --list"
        if row.kind == "pause":
            return f"mailbox queue resume {row.name}".rstrip()
        return f"mailbox breaker reset {shlex.quote(row.name)}"

    def record_text(self) -> str:
        """The row under the cursor."""
        return "" if self.rows.row is None else self._text(self.rows.row)

    def block_text(self) -> str:
        """The rows on the screen."""
        return "\n".join(self._text(row) for row in self.rows.rows_shown())

    def _text(self, row: Place) -> str:
        return "\t".join((row.state, row.name or WHOLE, row.why))
