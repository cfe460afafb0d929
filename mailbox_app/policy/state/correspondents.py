"""To whom our accounts wrote: (account, outside address), so that answers need not wait. In `state.db`, bounded.

Written once a day per pair at most; what this process wrote lately it remembers, so mailing the same people costs nothing.
What is noted is known here at once and written with the next `sync`, all in one go; a crash in between forgets it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.sqlite import Database
from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountId

KEPT_SECONDS = 180 * 86_400.0
"""An answer may take half a year."""
MAX_ROWS = 500_000
_AGAIN_SECONDS = 86_400.0
_MAX_REMEMBERED = 10_000
_MAX_NOTED = 20_000
_CLEAN_EVERY = 1_000


class Correspondents(Protocol):
    """Whom our accounts know. All but `news` and `note` block; safe from any thread."""

    def news(self, account_id: AccountId, addresses: Sequence[str]) -> Sequence[str]:
        """Those of the addresses that are worth a note; a look into memory."""
        ...

    def note(self, account_id: AccountId, addresses: Sequence[str]) -> None:
        """As `wrote`, but written with the next `sync`."""
        ...

    def sync(self) -> None:
        """Write what was noted; never raises."""
        ...

    def wrote(self, account_id: AccountId, addresses: Sequence[str]) -> None:
        """An account sent mail to these addresses."""
        ...

    def knows(self, account_ids: Sequence[AccountId], address: str) -> bool:
        """Whether one of the accounts wrote to this address."""
        ...


class WrittenLately:
    """What this process wrote down within a day, or is about to."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lately: OrderedDict[tuple[AccountId, str], float] = OrderedDict()
        self._noted: dict[tuple[AccountId, str], None] = {}
        self._guard = threading.Lock()

    def news(self, account_id: AccountId, addresses: Sequence[str]) -> Sequence[str]:
        """Those of the addresses that are worth a note; a look into memory."""
        since = self._clock.epoch_seconds() - _AGAIN_SECONDS
        pairs = ((each, (account_id, each.lower())) for each in addresses)
        return [each for each, pair in pairs if self._lately.get(pair, 0.0) <= since and pair not in self._noted]

    def note(self, account_id: AccountId, addresses: Sequence[str]) -> None:
        """As `wrote`, but written with the next `sync`; what does not fit any more is forgotten."""
        with self._guard:
            for address in addresses:
                if address and len(self._noted) < _MAX_NOTED:
                    self._noted[account_id, address.lower()] = None

    def sync(self) -> None:
        """Write what was noted; never raises."""
        if not self._noted:
            return
        with self._guard:
            noted = list(self._noted)
        self._write(noted)
        with self._guard:
            for pair in noted:
                self._noted.pop(pair, None)

    def wrote(self, account_id: AccountId, addresses: Sequence[str]) -> None:
        """An account sent mail to these addresses."""
        self._write([(account_id, address.lower()) for address in addresses if address])

    def _write(self, pairs: Sequence[tuple[AccountId, str]]) -> None:
        """And remember them; trouble is logged, and they are not remembered."""
        raise NotImplementedError

    def _is_noted(self, account_ids: Sequence[AccountId], address: str) -> bool:
        return bool(self._noted) and any((each, address.lower()) in self._noted for each in account_ids)

    def _remember(self, pairs: Sequence[tuple[AccountId, str]], now: float) -> None:
        for pair in pairs:
            self._lately[pair] = now
            self._lately.move_to_end(pair)
        while len(self._lately) > _MAX_REMEMBERED:
            self._lately.popitem(last=False)


class SqliteCorrespondents(WrittenLately):
    """In `state.db`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(clock)
        self._database = database
        self._log = structlog.get_logger("greylist")
        self._writes = 0

    def _write(self, pairs: Sequence[tuple[AccountId, str]]) -> None:
        now = self._clock.epoch_seconds()
        try:
            with self._database.transaction(durable=False) as connection:
                connection.executemany(
                    "INSERT INTO correspondents (account_id, address, last_at_seconds) VALUES (?, ?, ?)"
                    " ON CONFLICT (account_id, address) DO UPDATE SET last_at_seconds = excluded.last_at_seconds",
                    [(*pair, now) for pair in pairs],
                )
                self._writes += len(pairs)
                if self._writes >= _CLEAN_EVERY:
                    self._writes = 0
                    connection.execute("DELETE FROM correspondents WHERE last_at_seconds < ?", (now - KEPT_SECONDS,))
                    connection.execute(
                        "DELETE FROM correspondents WHERE last_at_seconds <= (SELECT last_at_seconds FROM correspondents"
                        " ORDER BY last_at_seconds DESC LIMIT 1 OFFSET ?)",
                        (MAX_ROWS,),
                    )
        except StoreError as error:
            self._log.warning("correspondents_unwritable", code=error.code)
            return
        self._remember(pairs, now)

    def knows(self, account_ids: Sequence[AccountId], address: str) -> bool:
        """Whether one of the accounts wrote to this address."""
        since = self._clock.epoch_seconds() - KEPT_SECONDS
        ids = list(account_ids)[:100]
        if not ids or not address:
            return False
        if self._is_noted(ids, address):
            return True
        marks = ", ".join("?" * len(ids))
        try:
            with self._database.reading() as connection:
                row = connection.execute(
                    "SELECT 1 FROM correspondents WHERE"  # noqa: S608 - question marks
                    f" account_id IN ({marks}) AND address = ? AND last_at_seconds > ?",
                    (*ids, address.lower(), since),
                ).fetchone()
        except StoreError as error:
            self._log.warning("correspondents_unreadable", code=error.code)
            return False
        return row is not None
