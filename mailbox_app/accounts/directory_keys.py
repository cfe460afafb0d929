"""The signing keys' half of `SqliteDirectory`: keys are added, found, moved through their states; no row ever goes."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from mailbox_app.accounts import key_tables, tables
from mailbox_app.accounts.addresses import canonical_domain
from mailbox_app.accounts.free_names import no_such_domain
from mailbox_app.accounts.model import DkimKey, KeyState
from mailbox_app.db.sqlite import Database
from mailbox_app.errors import AccountError


class DirectoryKeys(ABC):
    """Needs the directory's database; each change is told to all processes."""

    _database: Database

    @abstractmethod
    def _changing(self) -> AbstractContextManager[sqlite3.Connection]: ...

    @abstractmethod
    def _now(self) -> int: ...

    def all_dkim_keys(self, domain: str) -> Sequence[DkimKey]:
        """In all states."""
        with self._database.reading() as connection:
            return key_tables.keys_of(connection, canonical_domain(domain))

    def domains_with_keys(self) -> Sequence[str]:
        """Domains that sign, will sign or signed lately, by name."""
        with self._database.reading() as connection:
            return key_tables.domains_with_keys(connection)

    def add_dkim_key(self, key: DkimKey) -> None:
        """`account.selector_exists`, `account.no_such_domain`."""
        with self._changing() as connection:
            if not tables.has_domain(connection, key.domain):
                raise no_such_domain(key.domain)
            if not key_tables.insert(connection, key):
                raise AccountError(
                    "account.selector_exists",
                    f"{key.domain} has or had a key with selector {key.selector}",
                    fields={"remedy": "Choose another selector: a selector is never used twice."},
                )
            tables.bump(connection)

    def retire_dkim_key(self, domain: str, selector: str) -> DkimKey:
        """The key signs no more; `account.no_such_key`."""
        name = canonical_domain(domain)
        found = next((key for key in self.all_dkim_keys(name) if key.selector == selector), None)
        if found is None:
            raise AccountError("account.no_such_key", f"{name} has no key with selector {selector}")
        if found.state in (KeyState.PREPARED, KeyState.ACTIVE):
            # nobody has seen a signature of a prepared one
            state = KeyState.RETIRING if found.active else KeyState.RETIRED
            self.move_dkim_keys(name, {selector: state})
        return next(key for key in self.all_dkim_keys(name) if key.selector == selector)

    def move_dkim_keys(self, domain: str, states: Mapping[str, KeyState]) -> None:
        """Bring keys, by selector, into their next states, all at once."""
        with self._changing() as connection:
            for selector, state in states.items():
                key_tables.set_state(connection, domain, selector, state, self._now())
            tables.bump(connection)

    def note_dkim_published(self, domain: str, selector: str, *, everywhere: bool) -> None:
        """Whether every name server of the domain has the key's record now."""
        with self._changing() as connection:
            key_tables.set_published(connection, domain, selector, self._now() if everywhere else None)
