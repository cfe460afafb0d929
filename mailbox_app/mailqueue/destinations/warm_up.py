"""The volumes of an address that is new: how much one provider gets on which day; and since when an address is in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mailbox_app.db.sqlite import Database


@dataclass(frozen=True, slots=True)
class WarmUpPlan:
    """From when on, and how much a day."""

    begins_at: datetime | None = None
    """None: there is no warm-up."""
    volumes: Sequence[int] = ()

    def volume(self, now: datetime) -> int:
        """Messages to one provider today; 0: no bound."""
        if self.begins_at is None or now < self.begins_at:
            return 0
        day = (now - self.begins_at).days
        return self.volumes[day] if day < len(self.volumes) else 0

    def ends_at(self) -> datetime | None:
        """When the last bound falls."""
        return None if self.begins_at is None else self.begins_at + timedelta(days=len(self.volumes))


class SendingAddresses:
    """Since when this server sends from which addresses; in `state.db`. Blocks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def first_seen(self, address: str, now: datetime) -> datetime:
        """The first time this was asked about the address: now, when it never was."""
        with self._database.transaction(durable=False) as connection:
            connection.execute(
                "INSERT OR IGNORE INTO sending_addresses (address, first_at_seconds) VALUES (?, ?)",
                (address, now.timestamp()),
            )
            (at,) = connection.execute(
                "SELECT first_at_seconds FROM sending_addresses WHERE address = ?", (address,)
            ).fetchone()
        return datetime.fromtimestamp(at, UTC)
