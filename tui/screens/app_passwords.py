"""The app passwords of one account, and making one void."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from tui.account_models import AppPassword
from tui.client import CallError
from tui.desk import Desk
from tui.export import Exporter
from tui.feeds import Want
from tui.format import count, day, plural
from tui.keys import Action
from tui.models import int_of, rows_of
from tui.screens.list_view import SummaryPage
from tui.theme import Line
from tui.widgets.lines import LineView
from tui.widgets.prompt_row import Question
from tui.widgets.window_list import Column, Page, WindowList

COLUMNS: Sequence[Column[AppPassword]] = (
    Column("LABEL", 0, lambda row, _: (row.label, "text")),
    Column("FOR", 30, lambda row, _: (" ".join(row.protocols), "dim")),
    Column("MADE", 12, lambda row, now: (day(row.created_at, now), "dim"), "right"),
)


def parse_filter(text: str) -> dict[str, Any]:
    """Words that all occur in label or protocols."""
    return {"words": text.lower().split()} if text.strip() else {}


class AppPasswordsPage(SummaryPage[AppPassword]):
    """They are few: one answer holds all, and the filter works here."""

    NAME: ClassVar[str] = "app-passwords"
    TITLE: ClassVar[str] = "app passwords"
    SCOPES: ClassVar[Sequence[str]] = ("app-password", "find", "list", "copy", "move", "any")
    PARSE = staticmethod(parse_filter)
    HINTS: ClassVar[Sequence[str]] = ("help", "list.filter", "app-password.revoke", "copy.record", "export", "escape")

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
        self._all = 0
        self._exporter = Exporter(desk, "app-passwords", ("label", "protocols", "created_at"))

    def crumb(self) -> tuple[str, str]:
        """Whose."""
        return self._address, self.filter_text

    def wants(self) -> Sequence[Want]:
        """How many there are."""
        return (Want("account", self._on_numbers, {"address": self._address}),)

    def _on_numbers(self, state: dict[str, Any]) -> None:
        if int_of(state, "app_passwords") != self._all and self.rows.total is not None:
            self.rows.reload()

    async def _fetch(self, offset: int, limit: int) -> Page[AppPassword] | None:
        answer = await self.desk.call("app_password.list", address=self._address)
        if answer is None:
            return None
        found = [AppPassword.read(row) for row in rows_of(answer, "app_passwords")]
        self._all = len(found)
        words = self.filter.get("words", ())
        chosen = [each for each in found if all(word in self._words(each) for word in words)]
        return Page(len(chosen), chosen[offset : offset + limit])

    @staticmethod
    def _words(each: AppPassword) -> str:
        return f"{each.label} {' '.join(each.protocols)}".lower()

    def draw(self) -> None:
        """How many, and how many match."""
        if not self.is_mounted:
            return
        if self.rows.total is None:
            line: Line = ((" Asking the daemon.", "dim"),)
        elif self.filter:
            line = ((f" {count(self.rows.total)} of {count(self._all)} match. ", "strong"), ("esc shows all", "dim"))
        else:
            line = ((f" {plural(self._all, 'app password')}, each for one program of {self._address}.", "strong"),)
        self._summary.set_lines([line])

    def _empty(self) -> Sequence[Line]:
        if self.filter:
            return [((f"   0 of {count(self._all)} match {self.filter_text!r} - esc shows all", "dim"),)]
        return [
            (("   This account has no app password.", "strong"),),
            ((f"   In a shell: mailbox user app-password add {self._address} phone", "dim"),),
        ]

    def refuse(self, action: Action) -> str:
        """Row actions need a row."""
        return "there is no row" if action.scope in {"app-password", "copy"} and self.rows.row is None else ""

    def command_ids(self) -> str:
        """Account and label."""
        return self._address if self.rows.row is None else f"{self._address} {self.rows.row.label!r}"

    def do_app_password_revoke(self) -> None:
        """Ask, then make it void."""
        if row := self.rows.row:
            what = f"Make {row.label!r} void? All sessions of the account end."
            self.desk.prompt.ask(Question(what, {"y": lambda: self._go(row.label)}))

    def _go(self, label: str) -> None:
        self.desk.prompt.run_worker(self._revoke(label), group="apply")

    async def _revoke(self, label: str) -> None:
        prompt = self.desk.prompt
        if reason := self.desk.refuse_change():
            prompt.say(reason, "bad")
            return
        try:
            await self.desk.client.call("app_password.revoke", {"address": self._address, "label": label})
        except CallError as error:
            prompt.say(error.sentence(), "bad")
        else:
            prompt.say(f"{label!r} is void. It cannot be taken back; a new one can be made.", "ok")
        self.rows.reload()

    def do_export(self) -> None:
        """Write the list to a file."""

        async def fetch(offset: int, limit: int) -> dict[str, Any]:
            answer = await self.desk.client.call("app_password.list", {"address": self._address})
            return {**answer, "app_passwords": rows_of(answer, "app_passwords")[offset : offset + limit]}

        self._exporter.ask(fetch, "app_passwords")

    def record_text(self) -> str:
        """The row under the cursor."""
        row = self.rows.row
        return "" if row is None else f"{self._address}\t{row.label}\t{' '.join(row.protocols)}"

    def block_text(self) -> str:
        """All rows on the screen."""
        return "\n".join(f"{self._address}\t{row.label}\t{' '.join(row.protocols)}" for row in self.rows.rows_shown())
