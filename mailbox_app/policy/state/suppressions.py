"""Outside addresses that failed for good, so often and on so many days that sending there again only harms this server's name.

An address counts when its own server says that there is no such mailbox (RFC 3463 X.1.1, X.1.2, X.1.6, X.1.10); each day counts
once, a delivery in between clears the count. From the third day on our users are told at RCPT, at once and in words, instead of
by one more report a few minutes later. An entry ends after 90 days without a failure, or when an operator removes it. In
`state.db`.
"""

from __future__ import annotations

import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.sqlite import Database
from mailbox_app.errors import StoreError
from mailbox_app.observe.mail_log import MailEvent
from mailbox_app.policy.state.trouble import Trouble

KEPT_SECONDS = 90 * 86_400.0
FAILED_DAYS = 3
HARD = frozenset({"5.1.1", "5.1.2", "5.1.6", "5.1.10"})
MAX_ROWS = 50_000
_MAX_PENDING = 20_000
_TEXT_CHARACTERS = 200
_ALWAYS = 0
_COUNT = """
    INSERT INTO suppressions (address, days, last_at_seconds, text) VALUES (?1, 1, ?2, ?3)
    ON CONFLICT (address) DO UPDATE SET text = ?3, last_at_seconds = ?2, days = CASE
        WHEN days = 0 THEN 0
        WHEN last_at_seconds < ?2 - ?4 THEN 1
        ELSE days + (CAST(?2 / 86400 AS INTEGER) > CAST(last_at_seconds / 86400 AS INTEGER)) END
"""


@dataclass(frozen=True, slots=True)
class Suppression:
    """One address with what its server said last."""

    address: str
    days: int
    """Days with a failure; 0 for one that an operator added."""
    last_at_seconds: float
    text: str

    @property
    def holds(self) -> bool:
        """Whether nothing is sent there."""
        return self.days == _ALWAYS or self.days >= FAILED_DAYS


class Suppressions(Protocol):
    """`find` and `note` look into memory; all others block. Safe from any thread."""

    def find(self, address: str) -> Suppression | None:
        """The entry that keeps mail from this address."""
        ...

    def note(self, address: str, enhanced: str, text: str) -> None:
        """What became of mail to an outside address; 2.x.x clears, the hard 5.1.x count, all else says nothing."""
        ...

    def sync(self) -> None:
        """Write what was noted, see what others wrote. Never raises."""
        ...

    def add(self, address: str, text: str) -> Suppression:
        """An operator's own. Raises `StoreError`."""
        ...

    def remove(self, address: str) -> Suppression | None:
        """Send there again; what there was. Raises `StoreError`."""
        ...

    def all(self, limit: int) -> Sequence[Suppression]:
        """Those that hold, latest first. Raises `StoreError`."""
        ...


def mail_sink(suppressions: Suppressions) -> Callable[[MailEvent], None]:
    """For the mail log: what other servers said about recipients."""

    def note(event: MailEvent) -> None:
        if event.direction == "out" and event.remote and event.enhanced:
            for address in event.recipients:
                suppressions.note(address, event.enhanced, f"{event.code} {event.text}")

    return note


class SuppressionTable(ABC):
    """The ones that count, and what was noted, in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: Mapping[str, Suppression] = {}
        self._pending: list[tuple[str, bool, str]] = []
        self._trouble = Trouble(structlog.get_logger("policy"), "suppressions_unreadable")

    def find(self, address: str) -> Suppression | None:
        """See `Suppressions`."""
        found = self._known.get(address.lower()) if self._known else None
        if found is None or not found.holds:
            return None
        is_over = found.days != _ALWAYS and found.last_at_seconds < self._clock.epoch_seconds() - KEPT_SECONDS
        return None if is_over else found

    def note(self, address: str, enhanced: str, text: str) -> None:
        """See `Suppressions`."""
        if enhanced in HARD:
            failed = True
        elif enhanced.startswith("2.") and address.lower() in self._known:
            failed = False
        else:
            return
        with self._lock:
            if len(self._pending) < _MAX_PENDING:
                self._pending.append((address.lower(), failed, text[:_TEXT_CHARACTERS]))

    def sync(self) -> None:
        """See `Suppressions`."""
        with self._lock:
            pending, self._pending = self._pending, []
        try:
            if pending:
                self._write(pending)
            self._read_changes()
        except StoreError as error:
            self._trouble.met(error)
            with self._lock:
                self._pending = (pending + self._pending)[:_MAX_PENDING]
        else:
            self._trouble.over()

    def _made(self, address: str, text: str) -> Suppression:
        """An operator's own."""
        return Suppression(address.lower(), _ALWAYS, self._clock.epoch_seconds(), text[:_TEXT_CHARACTERS])

    @abstractmethod
    def _read_changes(self) -> None:
        """Make the table anew if others changed something."""

    @abstractmethod
    def _write(self, pending: Sequence[tuple[str, bool, str]]) -> None:
        """Address, whether it failed, and the words."""


class SqliteSuppressions(SuppressionTable):
    """`Suppressions` in `state.db`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(clock)
        self._database = database
        self._seen: tuple[int, int] | None = None

    def add(self, address: str, text: str) -> Suppression:
        """See `Suppressions`."""
        made = self._made(address, text)
        with self._database.transaction(durable=False) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO suppressions (address, days, last_at_seconds, text) VALUES (?, ?, ?, ?)",
                (made.address, made.days, made.last_at_seconds, made.text),
            )
            _changed(connection)
        self.sync()
        return made

    def remove(self, address: str) -> Suppression | None:
        """See `Suppressions`."""
        with self._database.transaction(durable=False) as connection:
            row = connection.execute(
                "DELETE FROM suppressions WHERE address = ? RETURNING address, days, last_at_seconds, text",
                (address.lower(),),
            ).fetchone()
            _changed(connection)
        self.sync()
        return Suppression(*row) if row else None

    def all(self, limit: int) -> Sequence[Suppression]:
        """See `Suppressions`."""
        since = self._clock.epoch_seconds() - KEPT_SECONDS
        return self._read("days = 0 OR (days >= ? AND last_at_seconds >= ?)", (FAILED_DAYS, since), limit)

    def _read_changes(self) -> None:
        file_version = self._database.data_version()
        if self._seen is not None and self._seen[0] == file_version:
            return  # nobody wrote anything
        with self._database.reading() as connection:
            row = connection.execute("SELECT version FROM state_versions WHERE subject = 'suppressions'").fetchone()
        version = row[0] if row else 0
        if self._seen is None or self._seen[1] != version:
            self._known = {each.address: each for each in self._read("1 = 1", (), MAX_ROWS)}
        self._seen = file_version, version

    def _read(self, where: str, values: Sequence[object], limit: int) -> Sequence[Suppression]:
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT address, days, last_at_seconds, text FROM suppressions"  # noqa: S608 - our own conditions
                f" WHERE {where} ORDER BY last_at_seconds DESC LIMIT ?",
                (*values, limit),
            ).fetchall()
        return [Suppression(*row) for row in rows]

    def _write(self, pending: Sequence[tuple[str, bool, str]]) -> None:
        now = self._clock.epoch_seconds()
        with self._database.transaction(durable=False) as connection:
            for address, failed, text in pending:
                if not failed:
                    connection.execute("DELETE FROM suppressions WHERE address = ? AND days > 0", (address,))
                    continue
                connection.execute(_COUNT, (address, now, text, KEPT_SECONDS))
            connection.execute("DELETE FROM suppressions WHERE days > 0 AND last_at_seconds < ?", (now - KEPT_SECONDS,))
            connection.execute(
                "DELETE FROM suppressions WHERE address IN"
                " (SELECT address FROM suppressions ORDER BY last_at_seconds DESC LIMIT -1 OFFSET ?)",
                (MAX_ROWS,),
            )
            _changed(connection)


def _changed(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO state_versions (subject, version) VALUES ('suppressions', 1)"
        " ON CONFLICT (subject) DO UPDATE SET version = version + 1"
    )
