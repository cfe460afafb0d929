"""The queue's database file: opening it, its transactions, and its trouble as `QueueError`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mailbox_app.clock import Clock, SystemClock
from mailbox_app.db.sqlite import Database
from mailbox_app.errors import QueueError, StoreError
from mailbox_app.events.hints import Bus
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.mailqueue.sqlite.schema import MIGRATIONS


class SqliteAccess:
    """What the parts of `SqliteQueue` share."""

    def __init__(self, path: Path, spool: Spool, bus: Bus, clock: Clock | None = None) -> None:
        self._spool = spool
        self._bus = bus
        self._clock = clock or SystemClock()
        with translated():
            self._database = Database(path, MIGRATIONS)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    @contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        with translated(), self._database.transaction(durable=durable) as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with translated(), self._database.reading() as connection:
            yield connection


@contextmanager
def translated() -> Iterator[None]:
    """Trouble with the file, as the queue's own error."""
    try:
        yield
    except StoreError as error:
        code = error.code.replace("store.", "queue.", 1)
        raise QueueError(code, error.public_text, temporary=error.temporary, fields=error.fields) from error
