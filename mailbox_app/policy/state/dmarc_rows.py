"""What came in the name of domains that want aggregate reports: counted in memory, added to `reports.db` once a second.

A row is one source address whose messages fared alike. Domains and rows of a day are bounded: what is over is only
counted. A killed process loses one second of counts.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Protocol

import msgspec
import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.sqlite import Database
from mailbox_app.errors import StoreError
from mailbox_app.journal import report_tables
from mailbox_app.policy.state.sent_reports import DAY_SECONDS, SentReports
from mailbox_app.proto.dmarc_report import Published, Row

MAX_ROWS = 2_000
"""Of one domain and day: some 60 KB when packed."""
MAX_DOMAINS = 10_000
"""Of one day."""
_MAX_WAITING = 20_000
_KIND = "dmarc"

_DOMAIN = """
    INSERT INTO dmarc_domains (day, domain, published, addresses, row_count, unlisted) VALUES (?, ?, ?, ?, 0, 0)
    ON CONFLICT (day, domain) DO UPDATE SET published = excluded.published, addresses = excluded.addresses
    RETURNING row_count
"""


@dataclass(frozen=True, slots=True)
class Gathered:
    """A domain's day."""

    published: Published
    addresses: Sequence[str]
    """The rua= URIs, as published last."""
    rows: Sequence[Row]
    unlisted: int
    """Messages beyond the rows that are kept."""


class DmarcRows(Protocol):
    """The counts. `note` looks into memory; all else blocks."""

    def note(self, published: Published, addresses: Sequence[str], row: Row) -> None:
        """Count one message; from any thread."""
        ...

    def sync(self) -> None:
        """Add what is new to the file. Never raises."""
        ...

    def waiting(self, before_day: int, limit: int) -> Sequence[tuple[int, str]]:
        """Days (since 1970) with domains that nobody reported yet, oldest first."""
        ...

    def gathered(self, day: int, domain: str) -> Gathered | None:
        """What was counted."""
        ...

    def settle(self, day: int, domain: str) -> None:
        """The day was reported, or nobody wants it: forget its rows."""
        ...


@dataclass(slots=True)
class _Waiting:
    published: Published
    addresses: tuple[str, ...]
    rows: dict[bytes, int] = field(default_factory=dict)


class SqliteDmarcRows(SentReports):
    """`DmarcRows` in `reports.db`, and the list of what was sent; opened after the fork."""

    def __init__(self, path: str | os.PathLike[str], clock: Clock) -> None:
        database = Database(
            path, report_tables.MIGRATIONS, synchronous="NORMAL", busy_seconds=0.5, readers_kept=1, cache_kib=500
        )
        super().__init__(database, _KIND)
        self._clock = clock
        self._lock = threading.Lock()
        self._new: dict[tuple[int, str], _Waiting] = {}
        self._count = 0
        self._is_troubled = False
        self._log = structlog.get_logger("reports")

    def note(self, published: Published, addresses: Sequence[str], row: Row) -> None:
        """See `DmarcRows`."""
        day = int(self._clock.epoch_seconds() // DAY_SECONDS)
        detail = msgspec.json.encode(row)
        with self._lock:
            waiting = self._new.get((day, published.domain))
            if waiting is None:
                waiting = self._new[day, published.domain] = _Waiting(published, tuple(addresses))
            waiting.published, waiting.addresses = published, tuple(addresses)
            known = waiting.rows.get(detail)
            if known is None:
                if self._count >= _MAX_WAITING:
                    return
                self._count += 1
            waiting.rows[detail] = (known or 0) + row.count

    def sync(self) -> None:
        """See `DmarcRows`."""
        with self._lock:
            if not self._new:
                return
            taken, self._new, self._count = self._new, {}, 0
        try:
            self._write(taken)
            self._is_troubled = False
        except StoreError as error:
            if not self._is_troubled:
                self._log.warning("report_rows_unwritten", code=error.code)
            self._is_troubled = True
            self._put_back(taken)

    def _put_back(self, taken: dict[tuple[int, str], _Waiting]) -> None:
        with self._lock:
            for key, old in taken.items():
                waiting = self._new.setdefault(key, _Waiting(old.published, old.addresses))
                for detail, count in old.rows.items():
                    if detail in waiting.rows:
                        waiting.rows[detail] += count
                    elif self._count < _MAX_WAITING:
                        waiting.rows[detail] = count
                        self._count += 1

    def _write(self, new: dict[tuple[int, str], _Waiting]) -> None:
        with self._database.transaction(durable=False) as connection:
            known: dict[int, int] = {}
            for (day, domain), waiting in new.items():
                found = connection.execute(
                    "SELECT 1 FROM dmarc_domains WHERE day = ? AND domain = ?", (day, domain)
                ).fetchone()
                if found is None:
                    if day not in known:
                        counted = connection.execute("SELECT count(*) FROM dmarc_domains WHERE day = ?", (day,))
                        known[day] = counted.fetchone()[0]
                    if known[day] >= MAX_DOMAINS:
                        continue
                    known[day] += 1
                published, addresses = msgspec.json.encode(waiting.published), msgspec.json.encode(waiting.addresses)
                (row_count,) = connection.execute(_DOMAIN, (day, domain, published, addresses)).fetchone()
                added, unlisted = 0, 0
                for detail, count in waiting.rows.items():
                    key = (day, domain, blake2b(detail, digest_size=16).digest())
                    changed = connection.execute(
                        "UPDATE dmarc_rows SET count = count + ? WHERE day = ? AND domain = ? AND digest = ?",
                        (count, *key),
                    )
                    if changed.rowcount:
                        continue
                    if row_count + added >= MAX_ROWS:
                        unlisted += count
                        continue
                    added += 1
                    connection.execute("INSERT INTO dmarc_rows VALUES (?, ?, ?, ?, ?)", (*key, detail, count))
                if added or unlisted:
                    connection.execute(
                        "UPDATE dmarc_domains SET row_count = row_count + ?, unlisted = unlisted + ?"
                        " WHERE day = ? AND domain = ?",
                        (added, unlisted, day, domain),
                    )

    def waiting(self, before_day: int, limit: int) -> Sequence[tuple[int, str]]:
        """See `DmarcRows`."""
        with self._database.reading() as connection:
            return connection.execute(
                "SELECT day, domain FROM dmarc_domains WHERE day < ? ORDER BY day, domain LIMIT ?", (before_day, limit)
            ).fetchall()

    def gathered(self, day: int, domain: str) -> Gathered | None:
        """See `DmarcRows`. Largest counts first."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT published, addresses, unlisted FROM dmarc_domains WHERE day = ? AND domain = ?", (day, domain)
            ).fetchone()
            if found is None:
                return None
            rows = connection.execute(
                "SELECT detail, count FROM dmarc_rows WHERE day = ? AND domain = ? ORDER BY count DESC, digest",
                (day, domain),
            ).fetchall()
        published, addresses, unlisted = found
        return Gathered(
            msgspec.json.decode(published, type=Published),
            msgspec.json.decode(addresses, type=list[str]),
            [replace(row, count=count) for row, count in _decoded(rows)],
            unlisted,
        )

    def settle(self, day: int, domain: str) -> None:
        """See `DmarcRows`."""
        with self._database.transaction(durable=False) as connection:
            connection.execute("DELETE FROM dmarc_rows WHERE day = ? AND domain = ?", (day, domain))
            connection.execute("DELETE FROM dmarc_domains WHERE day = ? AND domain = ?", (day, domain))

    def close(self) -> None:
        """Write what is new, close the file."""
        self.sync()
        self._database.close()


def _decoded(rows: Sequence[tuple[bytes, int]]) -> Sequence[tuple[Row, int]]:
    return [(msgspec.json.decode(detail, type=Row), count) for detail, count in rows]
