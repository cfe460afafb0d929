"""Remembered reads of the directory: answers kept in memory, and a check before each that they are still true.

The check is SQLite's data version, asked on the one connection that all these reads use: the number tells about commits of
*other* connections only and differs between connections, so a pool of readers could not be compared with itself. Only
when it moved is our own generation row read, so that commits which readers need not notice (last logins) cost nothing.

Asking SQLite lets go of the GIL, and on a loop with busy threads getting it back costs more than the answer. So what is asked for
each message and recipient takes a known answer without asking for a moment (`recent`), but for answers that would refuse somebody;
`look_again`, called at hints, ends that moment.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Hashable
from typing import TypeVar, cast

from mailbox_app.accounts import alias_tables, tables
from mailbox_app.accounts.model import Account, Alias, DomainRule
from mailbox_app.db.sqlite import translated

_MAX_REMEMBERED = 50_000
"""Answers kept at most: some 20 MB. Strangers guessing names cannot grow it further."""

_RECENT_SECONDS = 0.03
"""How long an answer may be taken unasked when a hint was lost: less than it takes to start a program and connect."""

T = TypeVar("T")


class RememberedReads:
    """Look-ups over one dedicated connection; safe from any thread. Also the `routing.Source` of this directory."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.RLock()
        self._remembered: dict[Hashable, object] = {}
        self._version = -1
        self._generation = -1
        self._recent_until = 0.0
        self._is_reading = False
        self.separators = "+"
        self.hostname = ""

    def configure(self, separators: str, hostname: str) -> None:
        """What routing takes from the configuration; all answers are worked out anew."""
        with self._lock:
            self.separators, self.hostname = separators, hostname
            self._remembered.clear()

    def recent(self, key: Hashable) -> object | None:
        """The remembered answer when the check was made a moment ago; None when it was not, or nothing is remembered."""
        return self._remembered.get(key) if time.monotonic() < self._recent_until else None

    def look_again(self) -> None:
        """Something was committed, perhaps: check before the next answer."""
        self._recent_until = 0.0

    def get(self, key: Hashable, read: Callable[[sqlite3.Connection], T]) -> T:
        """The remembered answer for the key while nothing was committed, else a fresh one."""
        with self._lock, translated():
            if not self._is_reading:
                self._check()
            if key in self._remembered:
                return cast("T", self._remembered[key])
            outer, self._is_reading = self._is_reading, True
            try:
                answer = read(self._connection)
            finally:
                self._is_reading = outer
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = answer
            return answer

    def known(self, key: Hashable, read: Callable[[sqlite3.Connection], T]) -> T:
        """As `get`, but an answer that is not empty is taken unasked for a moment."""
        recent = self.recent(key)
        return cast("T", recent) if recent else self.get(key, read)

    def _check(self) -> None:
        """Once for an answer and all that it is made of: a commit meanwhile makes the next answer look again."""
        asked_at = time.monotonic()
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._refresh(version)
        self._recent_until = asked_at + _RECENT_SECONDS

    def _refresh(self, version: int) -> None:
        # The version was read before the generation: a commit in between makes the next call look again.
        generation = tables.generation(self._connection)
        if generation != self._generation:
            self._remembered.clear()
        self._generation = generation
        self._version = version

    def has_domain(self, name: str) -> bool:
        """Whether mail for it ends here."""
        return self.known(("has_domain", name), lambda connection: tables.has_domain(connection, name))

    def rule_of(self, name: str) -> DomainRule | None:
        """How its addresses are read; None when mail for it does not end here."""
        return self.get(("rule", name), lambda connection: tables.rule_of(connection, name))

    def is_removed(self, address: str) -> bool:
        """Whether an account with this address is in the trash."""
        return self.get(("removed", address), lambda connection: tables.is_removed(connection, address))

    def account_at(self, address: str) -> Account | None:
        """Without removed ones."""
        return self.get(("account_at", address), lambda connection: tables.account_at(connection, address))

    def alias_at(self, address: str) -> Alias | None:
        """`@domain` is the catch-all."""
        return self.get(("alias_at", address), lambda connection: alias_tables.alias_at(connection, address))

    def first_account(self, domain: str | None) -> Account | None:
        """The oldest of a domain, or of the server."""
        return self.get(("first", domain), lambda connection: tables.first_account(connection, domain))

    def oldest_domain(self) -> str | None:
        """Whose postmaster a bare `postmaster` is."""
        return self.get("oldest", tables.oldest_domain)
