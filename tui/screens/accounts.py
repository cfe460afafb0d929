"""Accounts: who has mail here, how full it is, who was last seen when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from textual.app import ComposeResult

from tui.account_models import NEARLY_FULL, Account
from tui.desk import Desk
from tui.export import Exporter
from tui.feeds import Want
from tui.format import age, clock, count, plural, size, size_words, stamp
from tui.keys import Action
from tui.models import int_of, rows_of
from tui.screens.account import AccountPage
from tui.screens.account_actions import AccountView
from tui.screens.list_view import ListView
from tui.theme import Line
from tui.widgets.lines import LineView
from tui.widgets.window_list import Column, Page, WindowList

EXPORT_FIELDS = (
    "address",
    "state",
    "used_bytes",
    "messages",
    "quota_bytes",
    "quota_messages",
    "created_at",
    "last_login_at",
    "sending",
    "held_because",
)
STATES = {"active": "active", "ok": "active", "disabled": "disabled", "off": "disabled", "removed": "removed"}
LIVE_HZ = 0.2
"""Each look opens the index of every account on the screen."""


def state_word(account: Account) -> tuple[str, str]:
    """Four letters: gone, held and off before full, since they explain more."""
    if account.removed:
        return "gone", "faint"
    if account.held:
        return "HELD", "warn"
    if account.state != "active":
        return "off ", "dim"
    return ("WARN", "warn") if account.share >= NEARLY_FULL else ("ok  ", "ok")


def last_login(account: Account, now: datetime) -> str:
    """How long ago, or never."""
    return "never" if account.last_login_at is None else age(account.last_login_at, now)


def full(account: Account, _now: datetime) -> tuple[str, str]:
    """How much of the quota is used; a number costs a slow line less than a bar."""
    if account.removed or not (account.quota_bytes or account.quota_messages):
        return "-", "dim"
    return f"{min(account.share, 9.99):.0%}", "warn" if account.share >= NEARLY_FULL else "dim"


def columns_for(width: int) -> Sequence[Column[Account]]:
    """Columns of the list; a wide terminal adds the messages and since when."""
    wide = width >= 110
    columns: list[Column[Account]] = [
        Column("ST", 4, lambda row, _: state_word(row)),
        Column("ADDRESS", 0, lambda row, _: (row.address, "faint" if row.removed else "text")),
        Column("USED", 5, lambda row, _: (size(row.used_bytes), "text"), "right"),
        Column("OF", 5, lambda row, _: (size(row.quota_bytes) if row.quota_bytes else "-", "dim"), "right"),
        Column("FULL", 4, full, "right"),
        Column("LAST LOGIN", 10, lambda row, now: (last_login(row, now), "dim"), "right"),
    ]
    if wide:
        columns.insert(5, Column("MESSAGES", 10, lambda row, _: (count(row.messages), "dim"), "right"))
        columns.append(Column("SINCE", 7, lambda row, now: (clock(row.created_at, now), "dim"), "right"))
    return columns


def parse_filter(text: str) -> dict[str, Any]:
    """`domain:example.org state:disabled words`; raises ValueError with a sentence."""
    params: dict[str, Any] = {}
    words: list[str] = []
    for word in text.split():
        name, colon, value = word.partition(":")
        if not colon or name not in {"domain", "state"}:
            words.append(word)
        elif not value:
            raise ValueError(f"{name}: needs a value.")
        elif name == "domain":
            params["domain"] = value
        elif value.lower() not in STATES:
            raise ValueError("state: is active, disabled or removed.")
        else:
            params["state"] = STATES[value.lower()]
    if len(words) > 1:
        raise ValueError("An address has no blanks; give one part of it, domain: and state:.")
    if words:
        params["text"] = words[0]
    return params


class AccountsScreen(AccountView, ListView[Account]):
    """The list of accounts by domain and address."""

    NAME: ClassVar[str] = "accounts"
    TITLE: ClassVar[str] = "Accounts"
    DIGIT: ClassVar[str] = "5"
    SCOPES: ClassVar[Sequence[str]] = ("account", "trace", "open", "find", "list", "copy", "move", "any")
    PARSE = staticmethod(parse_filter)
    HINTS: ClassVar[Sequence[str]] = (
        "help",
        "list.filter",
        "open",
        *AccountView.ACCOUNT_HINTS,
        "export",
        "list.menu",
    )

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._summary = LineView(desk.palette, height=2)
        self.rows = WindowList(
            desk.palette,
            columns=columns_for,
            fetch=self._fetch,
            now=desk.now,
            empty=self._empty,
            on_move=self._moved,
        )
        self._all = 0
        self._off = 0
        self._live_total: int | None = None
        self._watched: dict[str, int] = {}
        self._exporter = Exporter(desk, "accounts", EXPORT_FIELDS)

    def compose(self) -> ComposeResult:
        """Summary and list."""
        yield self._summary
        yield self.rows

    # Data

    async def _fetch(self, offset: int, limit: int) -> Page[Account] | None:
        answer = await self.desk.call("user.list", **self.filter, offset=offset, limit=limit)
        if answer is None:
            return None
        if offset == 0:
            await self._count_all(answer)
        self._live_total = int_of(answer, "total")
        self._draw()
        return Page(int_of(answer, "total"), [Account.read(row) for row in rows_of(answer, "users")])

    async def _count_all(self, answer: dict[str, Any]) -> None:
        """What is true of all, for the sentence."""
        whole = answer if not self.filter else await self.desk.call("user.list", limit=1)
        off = await self.desk.call("user.list", state="disabled", limit=1)
        if whole is not None and off is not None:
            self._all, self._off = int_of(whole, "total"), int_of(off, "total")

    def wants(self) -> Sequence[Want]:
        """The rows on the screen, seldom."""
        if not self._watched:
            return ()
        return (Want("user.window", self._on_rows, {**self.filter, **self._watched}, max_hz=LIVE_HZ),)

    def _on_rows(self, state: dict[str, Any]) -> None:
        self._live_total = int_of(state, "total")
        self.rows.update_rows([Account.read(row) for row in rows_of(state, "users")])
        if self.rows.total == 0 and self._live_total:
            self.rows.reload()
        self._draw()

    def shown(self) -> None:
        """First look, or back from somewhere."""
        self.rows.reload()
        self._draw()

    def resync(self) -> None:
        """Fetch again, cursor kept."""
        self.rows.reload()

    def _moved(self) -> None:
        window = {"offset": self.rows.top, "limit": min(self.rows.room, 100)}
        if window != self._watched:
            self._watched = window
            self.set_timer(0.2, self._watch)
        self._draw()

    def _watch(self) -> None:
        if self.display:
            self.desk.feeds.show(self.wants())

    def set_stale(self, stale: bool) -> None:
        """Grey the screen."""
        self._summary.set_stale(stale)
        self.rows.set_stale(stale)

    # Drawing

    def crumb(self) -> tuple[str, str]:
        """The filter."""
        return self.filter_text or "all", "by domain and address"

    def _draw(self) -> None:
        if self.is_mounted:
            self._summary.set_lines([self._sentence(), self._news()])

    def _sentence(self) -> Line:
        if self.rows.total is None:
            return ((" Asking the daemon.", "dim"),)
        if self.filter:
            return (
                (f" {count(self.rows.total)} of {plural(self._all, 'account')} match. ", "strong"),
                ("esc shows all", "dim"),
            )
        off = f" {plural(self._off, 'is', 'are')} switched off." if self._off else ""
        return ((f" {plural(self._all, 'account')}.{off}", "strong"),)

    def _news(self) -> Line:
        more = (self._live_total or 0) - (self.rows.total or 0)
        if self.rows.total is None or not more:
            return ()
        return ((f" {'+' if more > 0 else ''}{count(more)} since,", "accent"), (" . to show", "dim"))

    def _empty(self) -> Sequence[Line]:
        if self.filter:
            return [
                ((f"   0 of {plural(self._all, 'account')} match {self.filter_text!r} - esc shows all", "dim"),),
            ]
        return [
            (
                ("   There is no account yet. ", "strong"),
                ("In a shell: mailbox user add anna@example.org", "dim"),
            )
        ]

    # Actions

    def account(self) -> Account | None:
        """The one under the cursor."""
        return self.rows.row

    def refuse(self, action: Action) -> str:
        """Row actions need a row."""
        if action.scope in {"copy", "open", "trace"}:
            return "there is no account" if self.rows.row is None else ""
        return self.refuse_account(action) if action.scope == "account" else ""

    def do_open(self) -> None:
        """The account's page."""
        row = self.rows.row
        if row is not None and row.removed:
            self.desk.prompt.say(f"{row.address} is in the trash with its mail; u takes it back.", "dim")
        elif row is not None:
            self.desk.shell.open_page(AccountPage(self.desk, row.address))

    def filter_changed(self) -> None:
        """Fetch with the new filter."""
        self._watched = {}
        self.rows.reload(keep=False)

    def do_list_show_new(self) -> None:
        """Fetch again."""
        self.resync()

    def escape(self) -> bool:
        """The filter."""
        if not self.filter:
            return False
        self.set_filter("")
        return True

    def do_export(self) -> None:
        """Write the filtered view to a file."""
        query = dict(self.filter)
        self._exporter.ask(
            lambda offset, limit: self.desk.client.call("user.list", {**query, "offset": offset, "limit": limit}),
            "users",
        )

    def record_text(self) -> str:
        """The account under the cursor as one line."""
        row = self.rows.row
        if row is None:
            return ""
        quota = f" of {size_words(row.quota_bytes)}" if row.quota_bytes else ""
        seen = stamp(row.last_login_at, self.desk.now()).strip()
        return f"{row.address} {row.state} uses {size_words(row.used_bytes)}{quota} last login {seen}"

    def block_text(self) -> str:
        """The accounts on the screen, one a line."""
        now = self.desk.now()
        cells = (
            (row.address, row.state, size(row.used_bytes), size(row.quota_bytes), last_login(row, now))
            for row in self.rows.rows_shown()
        )
        return "\n".join("\t".join(row) for row in cells)
