"""TLS sessions with other servers, counted for the daily reports to their domains (RFC 8460).

In memory, added to `reports.db` once a second. A row is what fared alike under one policy. Domains and rows of a day are
bounded; a killed process loses one second of counts.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import msgspec
import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.sqlite import Database
from mailbox_app.errors import StoreError
from mailbox_app.journal import report_tables
from mailbox_app.policy.state.sent_reports import DAY_SECONDS, SentReports
from mailbox_app.policy.state.trouble import Trouble

MAX_ROWS = 500
"""Of one domain and day."""
MAX_DOMAINS = 10_000
"""Of one day."""
_MAX_WAITING = 10_000
_ADD = """
    INSERT INTO tls_rows (day, domain, digest, detail, count) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (day, domain, digest) DO UPDATE SET count = count + excluded.count
"""


@dataclass(frozen=True, slots=True)
class TlsRow:
    """Sessions that fared alike."""

    policy_type: str
    policy: Sequence[str]
    mx_host: str
    receiving_ip: str
    result: str
    """"" for success."""
    reason: str
    sending_ip: str = ""


class SqliteTlsRows(SentReports):
    """Opened after the fork; in the core, which alone talks to other servers."""

    def __init__(self, path: str | os.PathLike[str], clock: Clock) -> None:
        database = Database(
            path, report_tables.MIGRATIONS, synchronous="NORMAL", busy_seconds=0.5, readers_kept=1, cache_kib=500
        )
        super().__init__(database, "tls")
        self._clock = clock
        self._lock = threading.Lock()
        self._new: dict[tuple[int, str, bytes], int] = {}
        self._trouble = Trouble(structlog.get_logger("reports"), "report_rows_unwritten")

    def note(self, domain: str, row: TlsRow) -> None:
        """Count one session; a look into memory, from any thread."""
        key = (int(self._clock.epoch_seconds() // DAY_SECONDS), domain, msgspec.json.encode(row))
        with self._lock:
            if key in self._new or len(self._new) < _MAX_WAITING:
                self._new[key] = self._new.get(key, 0) + 1

    def sync(self) -> None:
        """Add what is new to the file. Never raises."""
        with self._lock:
            taken, self._new = self._new, {}
        if not taken:
            return
        try:
            self._write(taken)
        except StoreError as error:
            self._trouble.met(error)
            with self._lock:
                for key, count in taken.items():
                    self._new[key] = self._new.get(key, 0) + count
        else:
            self._trouble.over()

    def _write(self, new: dict[tuple[int, str, bytes], int]) -> None:
        with self._database.transaction(durable=False) as connection:
            rows: dict[tuple[int, str], int] = {}
            days: dict[int, int] = {}
            for (day, domain, detail), count in new.items():
                if (day, domain) not in rows:
                    found = connection.execute(
                        "SELECT count(*) FROM tls_rows WHERE day = ? AND domain = ?", (day, domain)
                    ).fetchone()
                    rows[day, domain] = found[0]
                    if day not in days:
                        counted = connection.execute(
                            "SELECT count(DISTINCT domain) FROM tls_rows WHERE day = ?", (day,)
                        )
                        days[day] = counted.fetchone()[0]
                    days[day] += not found[0]
                if rows[day, domain] >= MAX_ROWS or (not rows[day, domain] and days[day] > MAX_DOMAINS):
                    continue
                rows[day, domain] += 1
                digest = blake2b(detail, digest_size=16).digest()
                connection.execute(_ADD, (day, domain, digest, detail, count))

    def waiting(self, before_day: int, limit: int) -> Sequence[tuple[int, str]]:
        """Days (since 1970) with domains that nobody reported yet, oldest first."""
        with self._database.reading() as connection:
            return connection.execute(
                "SELECT DISTINCT day, domain FROM tls_rows WHERE day < ? ORDER BY day, domain LIMIT ?",
                (before_day, limit),
            ).fetchall()

    def gathered(self, day: int, domain: str) -> Sequence[tuple[TlsRow, int]]:
        """What was counted, the most first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT detail, count FROM tls_rows WHERE day = ? AND domain = ? ORDER BY count DESC, digest",
                (day, domain),
            ).fetchall()
        return [(msgspec.json.decode(detail, type=TlsRow), count) for detail, count in rows]

    def settle(self, day: int, domain: str) -> None:
        """The day was reported, or nobody wants it: forget its rows."""
        with self._database.transaction(durable=False) as connection:
            connection.execute("DELETE FROM tls_rows WHERE day = ? AND domain = ?", (day, domain))

    def close(self) -> None:
        """Write what is new, close the file."""
        self.sync()
        self._database.close()
