"""What can be done with an account from the list and from its page: the same keys, the same words."""

from __future__ import annotations

import re
from typing import ClassVar

from tui.account_models import Account
from tui.client import CallError
from tui.format import size_words
from tui.keys import Action
from tui.screens.app_passwords import AppPasswordsPage
from tui.screens.deleted_mail import DeletedMailPage
from tui.screens.rejects import RejectsPage
from tui.screens.view import View
from tui.widgets.prompt_row import Entry, Question

UNITS = " kmgt"


def quota_bytes(text: str) -> int:
    """`500M`, `2G`, `none` in bytes; raises ValueError with a sentence."""
    text = text.strip().lower()
    if text in {"none", "0"}:
        return 0
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([kmgt])b?", text)
    if not found:
        raise ValueError("A quota is written like 500M or 2G; none is no limit. Nothing was changed.")
    return int(float(found[1]) * 1024 ** UNITS.index(found[2]))


class AccountView(View):
    """A view with an account under its cursor: `account()` tells which."""

    ACCOUNT_HINTS: ClassVar[tuple[str, ...]] = (
        "account.deleted",
        "account.passwords",
        "account.rejects",
        "account.switch",
        "account.suspend",
        "account.quota",
    )

    def account(self) -> Account | None:
        """The account that the keys work on."""
        return None

    def do_account_rejects(self) -> None:
        """What its score refused."""
        if (account := self.account()) is not None:
            self.desk.shell.open_page(RejectsPage(self.desk, account.address))

    def do_trace(self) -> None:
        """The log of its mail."""
        if (account := self.account()) is not None:
            self.desk.shell.show_log(account.address)

    def refuse_account(self, action: Action) -> str:
        """Why a key does nothing now."""
        account = self.account()
        if account is None:
            return "there is no account"
        if action.id == "account.restore":
            return "" if account.removed else "it is not in the trash"
        return "it is in the trash; u takes it back" if account.removed else ""

    def command_ids(self) -> str:
        """Its address."""
        account = self.account()
        return "" if account is None else account.address

    def do_account_deleted(self) -> None:
        """Its deleted mail."""
        if account := self.account():
            self.desk.shell.open_page(DeletedMailPage(self.desk, account.address))

    def do_account_passwords(self) -> None:
        """Its app passwords."""
        if account := self.account():
            self.desk.shell.open_page(AppPasswordsPage(self.desk, account.address))

    def do_account_switch(self) -> None:
        """Off, or on again."""
        if account := self.account():
            method, said = (
                ("user.disable", "may not log in any more; its mail is still kept - x lets it in again")
                if account.state == "active"
                else ("user.enable", "may log in again - x stops it")
            )
            if account.held and method == "user.enable":
                said = "may log in again; what it sends is still held - H ends that"
            self._start(method, account, said)

    def do_account_suspend(self) -> None:
        """All it sends is held and nobody logs in; or the way back, which asks what becomes of what is held."""
        account = self.account()
        if account is None:
            return
        name = account.address
        if account.held:
            keys = {
                "y": lambda: self._start(
                    "user.resume", account, "may send again, what was held goes out", release=True
                ),
                "k": lambda: self._start("user.resume", account, "may send again; what was held stays held"),
            }
            suffix = "y also releases its mail, k keeps it held"
            self.desk.prompt.ask(Question(f"Let {name} send again?", keys, suffix))
            return
        said = "is suspended: nobody logs in and its mail is held - H ends that"
        self.desk.prompt.ask(
            Question(
                f"Suspend {name} and hold all its mail?", {"y": lambda: self._start("user.suspend", account, said)}
            )
        )

    def do_account_restore(self) -> None:
        """Out of the trash."""
        if account := self.account():
            self._start("user.restore", account, "is back with its mail")

    def do_account_quota(self) -> None:
        """Type a new quota."""
        if account := self.account():
            now = size_words(account.quota_bytes) if account.quota_bytes else "none"
            self.desk.prompt.read(
                Entry(f"quota of {account.address} (now {now}):", submit=lambda text: self._set_quota(account, text))
            )

    def _set_quota(self, account: Account, text: str) -> None:
        try:
            most = quota_bytes(text)
        except ValueError as error:
            self.desk.prompt.say(str(error), "bad")
            return
        said = f"may use {size_words(most)}" if most else "has no limit now"
        if most and most < (account.used_bytes or 0):
            said += f"; it uses {size_words(account.used_bytes)} and takes no new mail"
        self._start("user.quota", account, said, quota_bytes=most)

    def _start(self, method: str, account: Account, said: str, **more: object) -> None:
        self.desk.prompt.run_worker(self._change(method, account.address, said, **more), group="apply")

    async def _change(self, method: str, address: str, said: str, **more: object) -> None:
        prompt, desk = self.desk.prompt, self.desk
        if reason := desk.refuse_change():
            prompt.say(reason, "bad")
            return
        try:
            await desk.client.call(method, {"address": address, **more}, timeout_seconds=60.0)
        except CallError as error:
            prompt.say(error.sentence(), "bad")
        else:
            prompt.say(f"{address} {said}.", "ok")
        if self.is_attached:
            self.resync()
