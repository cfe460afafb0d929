"""SQLite the way every database of this server opens it: WAL, explicit transactions, numbered migrations.

A `Database` has one writing connection behind a lock and a few reading ones, all usable from any thread. Busy, full and
I/O errors become temporary `StoreError`s (`store.busy`, `store.full`); a damaged file is `store.damaged`. Migrations are SQL scripts; number n
brings `user_version` from n to n + 1, each in its own transaction, so a killed migration starts again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from mailbox_app.errors import StoreError

_READERS_KEPT = 4


class Database:
    """One database file. `synchronous` FULL makes each commit durable; NORMAL only survives a crash of the process."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        migrations: Sequence[str],
        *,
        synchronous: str = "FULL",
        busy_seconds: float = 5.0,
    ) -> None:
        self.path = os.fspath(path)
        self._synchronous = synchronous
        self._busy_seconds = busy_seconds
        self._lock = threading.Lock()
        self._readers: list[sqlite3.Connection] = []
        with translated():
            self._writer = self._connect()
            self._migrate(migrations)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """BEGIN IMMEDIATE ... COMMIT; rolled back when the block raises. Never write to a peer inside."""
        with self._lock, translated():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a failed COMMIT (disk full) may have rolled back already
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for SELECTs; one consistent view only inside an explicit BEGIN."""
        try:
            connection = self._readers.pop()
        except IndexError:
            with translated():
                connection = self._connect()
        try:
            with translated():
                yield connection
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if len(self._readers) < _READERS_KEPT:
                self._readers.append(connection)
            else:
                connection.close()

    def data_version(self) -> int:
        """Changes whenever another connection or process commits; costs microseconds."""
        with self.reading() as connection:
            return int(connection.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Close all connections; the object is of no more use."""
        with self._lock:
            self._writer.close()
            while self._readers:
                self._readers.pop().close()

    def _connect(self) -> sqlite3.Connection:
        new = not os.path.exists(self.path)
        connection = sqlite3.connect(
            self.path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
        )
        if new:
            os.chmod(self.path, 0o600)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={self._synchronous}")
        connection.execute("PRAGMA foreign_keys=ON")
        return connection

    def _migrate(self, migrations: Sequence[str]) -> None:
        version = int(self._writer.execute("PRAGMA user_version").fetchone()[0])
        if version > len(migrations):
            raise StoreError("store.newer", "the data was written by a newer version of this program")
        for number in range(version, len(migrations)):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                if int(self._writer.execute("PRAGMA user_version").fetchone()[0]) == number:
                    for statement in _statements(migrations[number]):
                        self._writer.execute(statement)
                    self._writer.execute(f"PRAGMA user_version={number + 1}")
                self._writer.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._writer.execute("ROLLBACK")
                raise


def _statements(script: str) -> Iterator[str]:
    """Single statements of a script (executescript would commit the open transaction)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement


@contextmanager
def translated() -> Iterator[None]:
    """Turn sqlite3 errors into `StoreError`s that know their answer."""
    try:
        yield
    except sqlite3.OperationalError as error:
        name = getattr(error, "sqlite_errorname", "") or ""
        if name.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN")):
            raise StoreError("store.full", "storage is not writable now", temporary=True) from error
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise StoreError("store.busy", "storage is busy", temporary=True) from error
        raise StoreError("store.failed", "storage failed", temporary=True) from error
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.IntegrityError):
            raise
        raise StoreError("store.damaged", "an index is damaged", temporary=True) from error
