"""Which reports were sent to whom, in `reports.db`: one list for all kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mailbox_app.db.sqlite import Database

DAY_SECONDS = 86_400
_SENT = "INSERT INTO sent (kind, day, domain, address, at_seconds, outcome, messages) VALUES (?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Sent:
    """A report to one address, or why there was none."""

    day: int
    domain: str
    address: str
    at_seconds: float
    outcome: str
    """queued, or a few words."""
    messages: int
    """Messages or sessions it tells of."""
    kind: str = "dmarc"


class SentReports:
    """Of one kind, where nothing else is said. Everything blocks."""

    def __init__(self, database: Database, kind: str) -> None:
        self._database = database
        self._kind = kind

    def note_sent(self, sent: Sent) -> None:
        """Durable: a report is not sent twice because of a crash later on."""
        row = (sent.kind, sent.day, sent.domain, sent.address, sent.at_seconds, sent.outcome, sent.messages)
        with self._database.transaction() as connection:
            connection.execute(f"{_SENT} ON CONFLICT DO NOTHING", row)

    def sent_to(self, day: int, domain: str) -> set[str]:
        """The addresses that have their report, or cannot have it."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT address FROM sent WHERE kind = ? AND day = ? AND domain = ?", (self._kind, day, domain)
            )
            return {address for (address,) in rows}

    def sent_count(self, since_seconds: float) -> int:
        """How many reports of all kinds were queued since then."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT count(*) FROM sent WHERE at_seconds >= ? AND outcome = 'queued'", (since_seconds,)
            )
            return int(found.fetchone()[0])

    def sent(self, domain: str, since_seconds: float, limit: int) -> Sequence[Sent]:
        """What was sent about a domain ("": all), of all kinds, latest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT day, domain, address, at_seconds, outcome, messages, kind FROM sent"
                " WHERE at_seconds >= ? AND (? = '' OR domain = ?) ORDER BY at_seconds DESC LIMIT ?",
                (since_seconds, domain, domain, limit),
            ).fetchall()
        return [Sent(*row) for row in rows]

    def forget_sent(self, before_seconds: float) -> None:
        """Drop old entries of the list."""
        with self._database.transaction(durable=False) as connection:
            connection.execute("DELETE FROM sent WHERE at_seconds < ?", (before_seconds,))
