"""Hold rules: what new mail waits for somebody to look at it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, ClassVar

from tui.export import Exporter
from tui.format import clock, plural
from tui.keys import Action
from tui.models import rows_of
from tui.queue_models import HoldRule
from tui.screens.queue_side import SidePage
from tui.theme import Line
from tui.widgets.prompt_row import Entry, Question
from tui.widgets.window_list import Column, Page

EXPORT_FIELDS = ("number", "from", "to", "submitter", "reason", "made_at")
FIELDS = ("from", "to", "submitter")


def parse_rule(text: str) -> dict[str, Any]:
    """`from:a@b submitter:@c why it is`; raises ValueError with a sentence for a person."""
    params: dict[str, Any] = {}
    words: list[str] = []
    for word in text.split():
        name, colon, value = word.partition(":")
        if colon and name in FIELDS and value:
            params[name] = value
        else:
            words.append(word)
    if not params:
        raise ValueError(
            "A rule needs from:, to: or submitter: with an address or @domain; what follows is the reason."
        )
    return {**params, "reason": " ".join(words)}


class RulesPage(SidePage[HoldRule]):
    """The page behind `L` in the queue."""

    NAME: ClassVar[str] = "queue-rules"
    TITLE: ClassVar[str] = "hold rules"
    SCOPES: ClassVar[Sequence[str]] = ("queue-rule", "list", "copy", "move", "any")
    HINTS: ClassVar[Sequence[str]] = ("help", "queue-rule.add", "queue-rule.remove", "copy.record", "escape")

    def columns(self, width: int) -> list[Column[HoldRule]]:
        """What each rule looks at."""
        return [
            Column("NO", 4, lambda row, _: (str(row.number), "dim"), "right"),
            Column("FROM", 0, lambda row, _: (row.sender or "-", "text")),
            Column("TO", 0, lambda row, _: (row.recipient or "-", "text")),
            Column("ACCOUNT", 0, lambda row, _: (row.submitter or "-", "text")),
            Column("SINCE", 6, lambda row, now: (clock(row.made_at, now), "dim")),
            Column("WHY", 0, lambda row, _: (row.reason, "dim")),
        ]

    async def fetch(self, offset: int, limit: int) -> Page[HoldRule] | None:
        """One answer holds all: they are a thousand at most."""
        found = await self.desk.call("queue.rules")
        if found is None:
            return None
        rows = [HoldRule.read(row) for row in rows_of(found, "rules")]
        return Page(len(rows), rows[offset : offset + limit])

    def sentence(self) -> str:
        """How many there are."""
        total = self.rows.total or 0
        return (
            f"{plural(total, 'rule holds', 'rules hold')} new mail from the start." if total else "No new mail is held."
        )

    def detail(self) -> str:
        """The reason of the row under the cursor, whole."""
        return "" if self.rows.row is None else self.rows.row.reason

    def empty(self) -> list[Line]:
        """What a rule is for."""
        return [
            (("   A rule lets mail wait until somebody releases it. a adds one:", "dim"),),
            (("   submitter:anna@example.org her password was stolen", "dim"),),
        ]

    def refuse(self, action: Action) -> str:
        """Removing and copying need a row."""
        needs_row = action.scope == "copy" or action.id == "queue-rule.remove"
        return "there is no row" if needs_row and self.rows.row is None else ""

    def do_queue_rule_add(self) -> None:
        """Type conditions and a reason."""
        self.desk.prompt.read(Entry("hold (from: to: submitter: reason)", submit=self._add))

    def _add(self, text: str) -> None:
        try:
            params = parse_rule(text)
        except ValueError as error:
            self.desk.prompt.say(str(error), "bad")
            return
        self.desk.prompt.ask(
            Question(
                "Hold also what waits already and matches?",
                {
                    "y": lambda: self.start(
                        "queue.add_rule", {**params, "waiting": True}, "New and waiting mail is held."
                    ),
                    "n": lambda: self.start("queue.add_rule", params, "New mail is held."),
                },
            )
        )

    def do_queue_rule_remove(self) -> None:
        """Ask, and whether what it held goes too."""
        row = self.rows.row
        if row is None:
            return
        gone = {"number": row.number}
        self.desk.prompt.ask(
            Question(
                f"End rule {row.number}? y leaves what it held, r releases that too.",
                {
                    "y": lambda: self.start("queue.remove_rule", gone, "The rule is gone; what it held stays held."),
                    "r": lambda: self.start(
                        "queue.remove_rule",
                        {**gone, "release": True},
                        "The rule is gone, and what it held is released.",
                    ),
                },
            )
        )

    def do_export(self) -> None:
        """Write the list to a file."""

        async def fetch(offset: int, limit: int) -> dict[str, Any]:
            found = rows_of(await self.desk.client.call("queue.rules", {}), "rules")
            return {"rules": found[offset : offset + limit], "total": len(found)}

        Exporter(self.desk, "hold-rules", EXPORT_FIELDS).ask(fetch, "rules")

    def command_line(self) -> str:
        """The same in a shell."""
        row = self.rows.row
        return "mailbox queue rule list" if row is None else f"mailbox queue rule remove {row.number}"

    def record_text(self) -> str:
        """The rule as the command that makes it."""
        row = self.rows.row
        return "" if row is None else self._text(row)

    def block_text(self) -> str:
        """All rules on the screen."""
        return "\n".join(self._text(row) for row in self.rows.rows_shown())

    def _text(self, row: HoldRule) -> str:
        parts = (
            ("--from", row.sender),
            ("--to", row.recipient),
            ("--submitter", row.submitter),
            ("--reason", row.reason),
        )
        return "mailbox queue rule add " + " ".join(f"{name} {shlex.quote(value)}" for name, value in parts if value)
