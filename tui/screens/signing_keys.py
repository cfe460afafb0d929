"""Signing keys of all domains: where each stands, what comes next, whether its record is published."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from tui.client import CallError
from tui.export import Exporter
from tui.format import clean, clock, plural
from tui.keys import Action
from tui.models import rows_of, text_of
from tui.screens.queue_side import SidePage
from tui.sending_models import SigningKey
from tui.theme import Line
from tui.widgets.prompt_row import Question
from tui.widgets.window_list import Column, Page
from tui.workers import begin

EXPORT_FIELDS = ("domain", "selector", "algorithm", "state", "created_at", "next", "record_name", "record_value")
ROLES = {"prepared": "warn", "active": "ok", "retiring": "dim", "retired": "faint"}
CHECK_SECONDS = 60.0
"""Every name server of a domain is asked, and some do not answer."""


class SigningKeysPage(SidePage[SigningKey]):
    """The page behind `K` in the queue."""

    NAME: ClassVar[str] = "signing-keys"
    TITLE: ClassVar[str] = "signing keys"
    SCOPES: ClassVar[Sequence[str]] = ("signing-key", "list", "copy", "move", "any")
    HINTS: ClassVar[Sequence[str]] = (
        "help",
        "signing-key.check",
        "signing-key.rotate",
        "signing-key.retire",
        "copy.record",
        "escape",
    )

    def columns(self, width: int) -> list[Column[SigningKey]]:
        """Each key with its state."""
        return [
            Column("STATE", 8, lambda row, _: (row.state, ROLES.get(row.state, "text"))),
            Column("DOMAIN", 0, lambda row, _: (row.domain, "text")),
            Column("SELECTOR", 0, lambda row, _: (row.selector, "text")),
            Column("KIND", 7, lambda row, _: (row.algorithm, "dim")),
            Column("SINCE", 6, lambda row, now: (clock(row.created_at, now), "dim")),
        ]

    async def fetch(self, offset: int, limit: int) -> Page[SigningKey] | None:
        """One answer holds all keys."""
        found = await self.desk.call("dkim.list")
        if found is None:
            return None
        rows = [SigningKey.read(row) for row in rows_of(found, "keys")]
        return Page(len(rows), rows[offset : offset + limit])

    def sentence(self) -> str:
        """How many there are."""
        total = self.rows.total or 0
        return f"{plural(total, 'signing key')}. y copies the record to publish." if total else "No mail is signed."

    def detail(self) -> str:
        """What comes next."""
        row = self.rows.row
        return "" if row is None else f"{row.selector} of {row.domain}: {row.next}."

    def empty(self) -> list[Line]:
        """How the first one is made."""
        return [(("   There is no key yet. In a shell: mailbox dkim generate example.org", "dim"),)]

    def refuse(self, action: Action) -> str:
        """Everything needs a row, retiring one that still signs or shall sign."""
        row = self.rows.row
        if action.scope not in {"copy", "signing-key"}:
            return ""
        if row is None:
            return "there is no row"
        if action.id == "signing-key.retire" and row.state in {"retiring", "retired"}:
            return "it signs no more already"
        return ""

    def do_signing_key_check(self) -> None:
        """Ask the name servers, for the domain under the cursor."""
        if (row := self.rows.row) is not None:
            self.desk.prompt.say(f"Asking every name server of {row.domain}.", "dim")
            begin(self.desk.prompt, partial(self._check, row), "check")

    async def _check(self, row: SigningKey) -> None:
        prompt = self.desk.prompt
        try:
            found = await self.desk.client.call("dkim.check", {"domain": row.domain}, timeout_seconds=CHECK_SECONDS)
        except CallError as error:
            prompt.say(error.sentence(), "bad")
            return
        own = next((each for each in rows_of(found, "keys") if text_of(each, "selector") == row.selector), None)
        if own is None:
            prompt.say(f"{row.selector} is not in use any more: its record is not looked for.", "dim")
        else:
            prompt.say(
                clean(f"{row.selector}: {text_of(own, 'sentence')}."), "ok" if own.get("seen") == "yes" else "bad"
            )

    def do_signing_key_rotate(self) -> None:
        """Keys that follow; they sign by themselves once their records are published."""
        row = self.rows.row
        if row is None:
            return
        said = "The next keys are prepared; publish their records and keep the old ones."
        start = partial(self.start, "dkim.rotate", {"domain": row.domain}, said)
        self.desk.prompt.ask(Question(f"Prepare the keys that follow for {row.domain}?", {"y": start}))

    def do_signing_key_retire(self) -> None:
        """Out of use at once."""
        row = self.rows.row
        if row is None:
            return
        params = {"domain": row.domain, "selector": row.selector}
        start = partial(self.start, "dkim.retire", params, f"{row.selector} signs no more.")
        self.desk.prompt.ask(Question(f"Retire {row.selector} of {row.domain} for good?", {"y": start}))

    def do_export(self) -> None:
        """Write the list to a file."""

        async def fetch(offset: int, limit: int) -> dict[str, Any]:
            found = rows_of(await self.desk.client.call("dkim.list", {}), "keys")
            return {"keys": found[offset : offset + limit], "total": len(found)}

        Exporter(self.desk, "signing-keys", EXPORT_FIELDS).ask(fetch, "keys")

    def command_line(self) -> str:
        """The same in a shell."""
        row = self.rows.row
        return "mailbox dkim list" if row is None else f"mailbox dkim check {shlex.quote(row.domain)}"

    def record_text(self) -> str:
        """The record to publish."""
        row = self.rows.row
        return "" if row is None else self._text(row)

    def block_text(self) -> str:
        """The records of the keys on the screen."""
        return "\n".join(self._text(row) for row in self.rows.rows_shown())

    @staticmethod
    def _text(row: SigningKey) -> str:
        return f"{row.record_name}\tTXT\t{row.record_value}"
