"""How much of something one key did lately: counted in memory, shared by all processes through `state.db`.

A count is one dictionary entry; a second later a thread adds what is new to the file in one transaction and takes over what the
other processes added. So a limit may be passed by what arrives at the other processes within one second, and by nothing
else. The window slides in two halves: this slot, and the part of the last one that still lies in the window. Trouble with
the file leaves each process to its own counts.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import Protocol

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.sqlite import Database
from mailbox_app.errors import StoreError

MINUTE, HOUR, DAY = 60, 3600, 86_400
_MAX_KEYS = 50_000
"""Some 20 MB when a whole botnet calls; the keys that were counted least recently are forgotten first."""
_MAX_ROWS = 500_000
_KEYS_PER_SYNC = 5_000
_PURGE_SYNCS = 60

_ADD = """
    INSERT INTO rates (key, window_seconds, slot, count, expires_at_seconds) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (key, window_seconds, slot) DO UPDATE SET count = count + excluded.count
"""

_Key = tuple[str, int]
Slot = tuple[str, int, int]
"""Key, window and number of the slot."""


class Rates(Protocol):
    """Counts per key over a sliding window. Looks into memory, from any thread."""

    def count(self, key: str, window_seconds: int, amount: int = 1) -> int:
        """Add to a key's count; what it did within the window, this included."""
        ...

    def sync(self) -> None:
        """Tell the other processes and hear from them. Blocks; never raises."""
        ...


class _Count:
    """One key over one window."""

    __slots__ = ("before", "now", "slot")

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.before = 0
        self.now = 0

    def move_to(self, slot: int) -> None:
        if slot != self.slot:
            self.before = self.now if slot == self.slot + 1 else 0
            self.now = 0
            self.slot = slot


class CountedRates(ABC):
    """`Rates` in memory, exchanged with what the other processes know."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: OrderedDict[_Key, _Count] = OrderedDict()
        self._new: dict[Slot, int] = {}
        """What the others do not know yet."""
        self._is_troubled = False
        self._log = structlog.get_logger("policy")

    def count(self, key: str, window_seconds: int, amount: int = 1) -> int:
        """See `Rates`."""
        now = self._clock.epoch_seconds()
        slot = int(now // window_seconds)
        with self._lock:
            found = self._counts.get((key, window_seconds))
            if found is None:
                if not amount and len(self._counts) >= _MAX_KEYS:
                    return 0
                found = self._counts[key, window_seconds] = _Count(slot)
                if len(self._counts) > _MAX_KEYS:
                    self._counts.popitem(last=False)
            else:
                self._counts.move_to_end((key, window_seconds))
                found.move_to(slot)
            if amount:
                found.now += amount
            if amount or (key, window_seconds, slot) not in self._new:
                self._note(key, window_seconds, slot, amount)
            return found.now + int(found.before * (1 - now / window_seconds + slot))

    def sync(self) -> None:
        """See `Rates`."""
        with self._lock:
            if not self._new:
                return
            taken = dict(list(self._new.items())[:_KEYS_PER_SYNC])
            for each in taken:
                del self._new[each]
        try:
            totals = self._exchange(taken)
            self._is_troubled = False
        except StoreError as error:
            if not self._is_troubled:
                self._log.warning("rates_unshared", code=error.code)
            self._is_troubled = True
            with self._lock:
                for (key, window_seconds, slot), amount in taken.items():
                    self._note(key, window_seconds, slot, amount)
            return
        with self._lock:
            for (key, window_seconds, slot), (before, current) in totals.items():
                found = self._counts.get((key, window_seconds))
                if found is not None and found.slot == slot:
                    found.before = before
                    found.now = current + self._new.get((key, window_seconds, slot), 0)

    def _note(self, key: str, window_seconds: int, slot: int, amount: int) -> None:
        if len(self._new) < _MAX_KEYS:
            self._new[key, window_seconds, slot] = self._new.get((key, window_seconds, slot), 0) + amount

    @abstractmethod
    def _exchange(self, new: dict[Slot, int]) -> dict[Slot, tuple[int, int]]:
        """Add to what is shared; by key, window and slot the totals of the slot before and this one."""


class SqliteRates(CountedRates):
    """`Rates` in `state.db`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(clock)
        self._database = database
        self._syncs = 0

    def _exchange(self, new: dict[Slot, int]) -> dict[Slot, tuple[int, int]]:
        """Add to the file."""
        totals = {}
        with self._database.transaction(durable=False) as connection:
            rows = [
                (key, window, slot, amount, (slot + 2) * window)
                for (key, window, slot), amount in new.items()
                if amount
            ]
            connection.executemany(_ADD, rows)
            for key, window, slot in new:
                found = dict(
                    connection.execute(
                        "SELECT slot, count FROM rates WHERE key = ? AND window_seconds = ? AND slot IN (?, ?)",
                        (key, window, slot - 1, slot),
                    ).fetchall()
                )
                totals[key, window, slot] = found.get(slot - 1, 0), found.get(slot, 0)
            self._syncs += 1
            if self._syncs % _PURGE_SYNCS == 1:
                connection.execute("DELETE FROM rates WHERE expires_at_seconds <= ?", (self._clock.epoch_seconds(),))
                surplus = connection.execute("SELECT count(*) FROM rates").fetchone()[0] - _MAX_ROWS
                if surplus > 0:
                    connection.execute(
                        "DELETE FROM rates WHERE rowid IN (SELECT rowid FROM rates ORDER BY expires_at_seconds LIMIT ?)",
                        (surplus,),
                    )
        return totals
