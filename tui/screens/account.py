"""One account: what it may and uses, its app passwords, its mailboxes, and what of its mail can still come back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from tui.account_models import NEARLY_FULL, Account, AppPassword, MailboxCount
from tui.client import CallError
from tui.desk import Desk
from tui.feeds import Want
from tui.format import age, count, day, fit, plural, size, size_words, stamp
from tui.keys import Action
from tui.models import int_of, rows_of
from tui.screens.account_actions import AccountView
from tui.screens.view import PageView, facts, heading, wrapped
from tui.terminal import copy_message, osc52
from tui.theme import Line
from tui.widgets.lines import BLANK
from tui.workers import begin

STATE_WORDS = {
    "active": "may log in",
    "disabled": "switched off: nobody logs in, its mail is still taken and kept",
    "removed": "in the trash with its mail; u on the list takes it back",
}


class AccountPage(AccountView, PageView):
    """The page behind enter on the list of accounts."""

    NAME: ClassVar[str] = "account"
    TITLE: ClassVar[str] = "account"
    SCOPES: ClassVar[Sequence[str]] = ("account", "trace", "find", "text", "copy", "move", "any")
    HINTS: ClassVar[Sequence[str]] = ("help", *AccountView.ACCOUNT_HINTS, "trace", "copy.record", "escape")

    def __init__(self, desk: Desk, address: str) -> None:
        super().__init__(desk)
        self._address = address
        self._account: Account | None = None
        self._kept = (0, 0)
        self._passwords: Sequence[AppPassword] = ()
        self._mailboxes: Sequence[MailboxCount] = ()
        self._search = (0, 0)
        self._trouble = ""

    def crumb(self) -> tuple[str, str]:
        """Its address."""
        return self._address, ""

    def wants(self) -> Sequence[Want]:
        """Its numbers; when one changes, the rest is asked for."""
        return (Want("account", self._on_numbers, {"address": self._address}),)

    def _on_numbers(self, state: dict[str, Any]) -> None:
        if not isinstance(state.get("user"), dict):
            self._account = None
            self._trouble = f"There is no account {self._address} any more."
            self.redraw()
            return
        self._account = Account.read(state["user"])
        self._kept = int_of(state, "kept_messages"), int_of(state, "kept_bytes")
        self.redraw()
        begin(self, self._load, "account")

    def shown(self) -> None:
        """Drawn when the topic has told something; a refusal is told by the question."""
        self.redraw()
        self.resync()

    def resync(self) -> None:
        """Ask for everything."""
        begin(self, self._load, "account")

    async def _load(self) -> None:
        call, whose = self.desk.client.call, {"address": self._address}
        try:
            self._account = Account.read(await call("user.show", whose))
            passwords = await call("app_password.list", whose)
            self._passwords = [AppPassword.read(row) for row in rows_of(passwords, "app_passwords")]
            held = await call("user.mailboxes", whose)
            self._mailboxes = [MailboxCount.read(row) for row in rows_of(held, "mailboxes")]
            self._search = int_of(held, "search_bytes"), int_of(held, "search_waiting")
            self._trouble = ""
        except CallError as error:
            if self._account is None or error.code == "account.no_such_address":
                self._account, self._trouble = None, error.sentence()
        self.redraw()

    # Drawing

    def content(self) -> Sequence[Line]:
        """Facts, deleted mail, app passwords, mailboxes."""
        width, account, now = self.size.width, self._account, self.desk.now()
        if account is None:
            return wrapped(self._trouble or "Asking the daemon.", width, "bad" if self._trouble else "dim")
        return [
            self._sentence(account),
            BLANK,
            *facts(self._pairs(account, now), 12),
            BLANK,
            heading("APP PASSWORDS", "w lists them" if self._passwords else "none"),
            *(self._password_line(each, now) for each in self._passwords),
            BLANK,
            heading("MAILBOXES", plural(len(self._mailboxes), "mailbox", "mailboxes")),
            *(self._mailbox_line(each, width) for each in self._mailboxes),
        ]

    @staticmethod
    def _sentence(account: Account) -> Line:
        if account.held:
            whose = "" if account.state == "active" else " It is switched off."
            return ((f" All that {account.address} sends is held.{whose} H lets it send again.", "warn"),)
        if account.state != "active":
            return ((f" {account.address} is {STATE_WORDS.get(account.state, account.state)}.", "warn"),)
        if account.share >= NEARLY_FULL:
            return ((f" {account.address} is {account.share:.0%} full; e changes its quota.", "warn"),)
        return ((f" {account.address} may log in; its mail takes {size_words(account.used_bytes)}.", "strong"),)

    def _pairs(self, account: Account, now: datetime) -> Sequence[tuple[str, str]]:
        limits = [
            *([size_words(account.quota_bytes)] if account.quota_bytes else []),
            *([plural(account.quota_messages, "message")] if account.quota_messages else []),
        ]
        full = f", {account.share:.0%} of {' and '.join(limits)}" if limits else ", without a limit"
        seen = f"{stamp(account.last_login_at, now).strip()}  ({age(account.last_login_at, now)} ago)"
        kept, kept_bytes = self._kept
        search_bytes, waiting = self._search
        behind = f"; {plural(waiting, 'message')} of all accounts wait for it" if waiting else ", up to date"
        return (
            ("state", STATE_WORDS.get(account.state, account.state)),
            *([("held", account.held_because)] if account.held else []),
            ("uses", f"{count(account.messages)} messages, {size_words(account.used_bytes)}{full}"),
            ("last login", seen if account.last_login_at else "never"),
            ("since", day(account.created_at, now)),
            ("search index", size_words(search_bytes) + behind),
            (
                "deleted mail",
                f"{plural(kept, 'message')}, {size_words(kept_bytes)}, can come back: d" if kept else "none is kept",
            ),
        )

    @staticmethod
    def _password_line(each: AppPassword, now: datetime) -> Line:
        made = day(each.created_at, now)
        return ((f"   {fit(each.label, 20)} ", "text"), (f"{fit(' '.join(each.protocols), 24)} {made}", "dim"))

    @staticmethod
    def _mailbox_line(each: MailboxCount, width: int) -> Line:
        name = min(50, max(20, width - 45))
        return (
            (f"   {fit(each.name, name)} ", "text"),
            (fit(count(each.messages), 9, "right"), "text"),
            (fit(f"{count(each.unseen)} new" if each.unseen else "", 12, "right"), "accent"),
            (f"{fit(size(each.size_bytes), 7, 'right')}  {each.special_use}", "dim"),
        )

    # Actions

    def account(self) -> Account | None:
        """This one."""
        return self._account

    def refuse(self, action: Action) -> str:
        """An account that is gone cannot be changed."""
        return self.refuse_account(action) if action.scope == "account" else ""

    def do_copy_record(self) -> None:
        """The whole page."""
        text = self.as_text()
        self.desk.prompt.say(copy_message(text))
        self.desk.shell.write_terminal(osc52(text))

    do_copy_block = do_copy_record
