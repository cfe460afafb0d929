"""SQLite the way every database of this server opens it: WAL, explicit transactions, numbered migrations.

A `Database` has one writing connection behind a lock and a few reading ones, all usable from any thread. Open it after
a fork, never before, and never open its file by other means: closing that descriptor drops SQLite's locks. Busy, full
and I/O errors become temporary `StoreError`s (`store.busy`, `store.full`); a damaged file is `store.damaged`.
Migrations are SQL scripts; number n brings `user_version` from n to n + 1, each in its own transaction, so a killed
migration starts again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from mailbox_app.errors import StoreError

_READERS_KEPT = 4
_WAL_PAGES = 1_000
_CACHE_KIB = 2_000
_LOG_FROM_BYTES = 131_072
_LOG_STEP_BYTES = 524_288
_LOG_UNUSED = b"unused end of the write-ahead log"


class Database:
    """One database file. `synchronous` FULL makes each commit durable; NORMAL only survives a crash of the process.

    `wal_pages` is the size at which a commit copies the log into the file: larger is faster and takes more disk.
    `cache_kib` is the memory one connection keeps pages in.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        migrations: Sequence[str],
        *,
        synchronous: str = "FULL",
        busy_seconds: float = 5.0,
        wal_pages: int = _WAL_PAGES,
        readers_kept: int = _READERS_KEPT,
        cache_kib: int = _CACHE_KIB,
    ) -> None:
        self.path = os.fspath(path)
        self._synchronous = synchronous
        self._busy_seconds = busy_seconds
        self._wal_pages = wal_pages
        self._readers_kept = readers_kept
        self._cache_kib = cache_kib
        self._lock = threading.Lock()
        self._readers: list[sqlite3.Connection] = []
        self._closed = False
        self._version_lock = threading.Lock()
        self._version_reader: sqlite3.Connection | None = None
        self._log_path = f"{self.path}-wal"
        self._log_bytes = 0
        with translated():
            self._writer = self._connect()
            try:
                self._migrate(migrations)
            except BaseException:
                self._writer.close()
                raise

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """BEGIN IMMEDIATE ... COMMIT; rolled back when the block raises. Never write to a peer inside.

        `durable=False` commits without waiting for the disk: for what can be found out again after a power cut.
        """
        with self._lock, translated():
            self._refuse_closed()
            if not durable:
                self._writer.execute("PRAGMA synchronous=NORMAL")
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                try:
                    yield self._writer
                    if durable:
                        self._extend_log()
                    self._writer.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):  # a failed COMMIT (disk full) may have rolled back already
                        self._writer.execute("ROLLBACK")
                    raise
            finally:
                if not durable:
                    self._writer.execute(f"PRAGMA synchronous={self._synchronous}")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for SELECTs; one consistent view only inside an explicit BEGIN."""
        self._refuse_closed()
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
                with suppress(sqlite3.Error):  # the block's own error is the one to tell
                    connection.execute("ROLLBACK")
            if len(self._readers) < self._readers_kept and not self._closed:
                self._readers.append(connection)
            else:
                connection.close()

    def data_version(self) -> int:
        """Changes whenever anybody, this object included, commits; costs microseconds. Only compare for equality."""
        self._refuse_closed()
        with self._version_lock, translated():
            # the figure belongs to its connection, so it must always be the same one
            if self._version_reader is None:
                self._version_reader = self._connect()
            return int(self._version_reader.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Close all connections; the object is of no more use."""
        with self._lock, self._version_lock:
            self._closed = True
            self._writer.close()
            if self._version_reader is not None:
                self._version_reader.close()
            while self._readers:
                self._readers.pop().close()

    def __del__(self) -> None:
        # A connection holds itself through its cache of statements: without this, file and memory wait for the collector.
        with suppress(AttributeError, sqlite3.Error):  # one that failed to open may have no connection
            self.close()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreError("store.closed", "the server is stopping", temporary=True)

    def _extend_log(self) -> None:
        """Make a log that grew grow by a piece more: a file system syncs what lies inside a file sooner than its new end.

        Only inside a write transaction, when nobody else writes to the log. SQLite takes what follows its last commit for
        nothing. Whether the piece is used up is seen at its mark, whichever process made it.
        """
        with suppress(OSError):  # no log yet, or no room: the commit will tell
            size = os.stat(self._log_path).st_size
            if size == self._log_bytes or size < _LOG_FROM_BYTES:
                return
            descriptor = os.open(self._log_path, os.O_RDWR | os.O_CLOEXEC)
            try:
                if os.pread(descriptor, len(_LOG_UNUSED), size - len(_LOG_UNUSED)) != _LOG_UNUSED:
                    piece = min(size, _LOG_STEP_BYTES)
                    size += os.pwrite(descriptor, bytes(piece - len(_LOG_UNUSED)) + _LOG_UNUSED, size)
                self._log_bytes = size
            finally:
                os.close(descriptor)

    def _connect(self) -> sqlite3.Connection:
        if not os.path.exists(self.path):
            self._make_file()
        connection = sqlite3.connect(
            self.path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            self._use_wal(connection)
            connection.execute(f"PRAGMA synchronous={self._synchronous}")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute(f"PRAGMA wal_autocheckpoint={self._wal_pages}")
            connection.execute(f"PRAGMA cache_size=-{self._cache_kib}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _make_file(self) -> None:
        """An empty 0600 file, which is an empty database.

        Made under another name: a process that closes any descriptor of a database file loses all its locks on it.
        """
        temporary = f"{self.path}.{os.getpid()}.{threading.get_ident()}"
        try:
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            with suppress(FileExistsError):
                os.link(temporary, self.path)
            os.unlink(temporary)
        except OSError as error:
            raise StoreError("store.full", "storage is not writable now", temporary=True) from error

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        """Switch to WAL; SQLite does not wait by itself when two processes do it to a new file at once."""
        deadline = time.monotonic() + self._busy_seconds
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                busy = (getattr(error, "sqlite_errorname", "") or "").startswith("SQLITE_BUSY")
                if not busy or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
            else:
                return

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
    for piece in script.split(";"):
        statement += piece
        if sqlite3.complete_statement(statement + ";"):
            if statement.strip():
                yield statement
            statement = ""
        else:
            statement += ";"  # inside a string or a trigger
    if statement.strip(" \t\r\n;"):
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
        if type(error) is not sqlite3.DatabaseError:  # a broken constraint or our own mistake, not a broken file
            raise
        raise StoreError("store.damaged", "an index is damaged", temporary=True) from error
