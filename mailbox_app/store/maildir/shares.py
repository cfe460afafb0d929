"""`shares.db`: which accounts name whom in their access lists, so that a user's LIST opens only those accounts.

It is a copy, and more is allowed in it than is true: a name goes in before the access list that holds it is committed,
and out after. A new, lost or damaged file is filled from the `acl.json` files of the tree before the next question is
answered.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import unquote

from mailbox_app.db.sqlite import Database
from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountRef
from mailbox_app.store.maildir import notes_queries
from mailbox_app.store.maildir.files import unlink_quietly
from mailbox_app.store.maildir.metadata import ACL_FILE, read_acl
from mailbox_app.store.notes import Shares

SHARES_FILE = "shares.db"


class MaildirShares(Shares):
    """One for all accounts; opened at its first use, safe from any thread and process."""

    def __init__(self, data_dir: str) -> None:
        self._data_dir = data_dir
        self._lock = threading.Lock()
        self._opened: Database | None = None

    def owners(self, identifiers: Sequence[str]) -> Sequence[str]:
        """Accounts that may name one of these."""
        found: dict[str, None] = {}
        with self._using() as database, database.reading() as connection:
            for identifier in identifiers:
                found.update(dict.fromkeys(notes_queries.owners(connection, identifier)))
        return sorted(found)

    def add(self, ref: AccountRef, identifiers: Iterable[str]) -> None:
        """Before an access list that names them is committed."""
        with self._using() as database, database.transaction() as connection:
            notes_queries.share(connection, address_of(ref), identifiers)

    def replace(self, ref: AccountRef, identifiers: Iterable[str]) -> None:
        """Exactly these; call it after the commit, under the account's lock."""
        owner = address_of(ref)
        with self._using() as database, database.transaction(durable=False) as connection:
            notes_queries.unshare(connection, owner)
            notes_queries.share(connection, owner, identifiers)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()

    @contextmanager
    def _using(self) -> Iterator[Database]:
        """The open file; one that turns out to be damaged is thrown away, and the caller's error stays temporary."""
        path = os.path.join(self._data_dir, SHARES_FILE)
        with self._lock:
            if self._opened is None or not os.path.exists(path):
                self._opened = self._open(path)
            database = self._opened
        try:
            yield database
        except StoreError as error:
            if error.code == "store.damaged":
                with self._lock:
                    if self._opened is database:
                        self._opened = None
                        _throw_away(path)
            raise

    def _open(self, path: str) -> Database:
        try:
            database = self._make(path)
        except StoreError as error:
            if error.code != "store.damaged":
                raise
            _throw_away(path)
            database = self._make(path)
        return database

    def _make(self, path: str) -> Database:
        database = Database(path, notes_queries.SHARES_MIGRATIONS, readers_kept=2, cache_kib=256)
        with database.reading() as connection:
            complete = notes_queries.is_complete(connection)
        if not complete:
            self._fill(database)
        return database

    def _fill(self, database: Database) -> None:
        found = list(_named_in_tree(os.path.join(self._data_dir, "mail")))
        with database.transaction() as connection:
            for owner, identifiers in found:
                notes_queries.share(connection, owner, identifiers)
            notes_queries.set_complete(connection)


def _throw_away(path: str) -> None:
    for suffix in ("", "-wal", "-shm"):
        unlink_quietly(path + suffix)


def address_of(ref: AccountRef) -> str:
    """How an account is called in access lists."""
    return f"{ref.localpart}@{ref.domain}"


def _named_in_tree(mail: str) -> Iterator[tuple[str, set[str]]]:
    """(owner, identifiers) of every account that has an access list."""
    for domain in _folders(mail):
        for localpart in _folders(os.path.join(mail, domain)):
            maildir = os.path.join(mail, domain, localpart, "Maildir")
            named: set[str] = set()
            for folder in ("", *_folders(maildir)):
                path = os.path.join(maildir, folder)
                if os.path.exists(os.path.join(path, ACL_FILE)):
                    named.update(name for name in read_acl(path) if not name.startswith("-"))
            if named:
                yield f"{unquote(localpart)}@{unquote(domain)}", named


def _folders(path: str) -> list[str]:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []
