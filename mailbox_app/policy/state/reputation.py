"""What senders are known for: tallies of junk, wanted and merely seen messages per account and sender, in `junk.db`.

Tallies lose half their weight in 90 days, so a sender can become better or worse. Each account has its own; account 0
adds them all up for networks, client addresses and domains, which says something to those who never met a sender. Bounded:
what was not touched for longest goes first. Everything blocks and is safe from any thread; trouble with the file is logged and
answered with "nothing known".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.sqlite import Database
from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountId

EVERYBODY = AccountId(0)
HALF_LIFE_SECONDS = 90 * 86_400.0
MAX_ROWS = 500_000
"""Some 50 MB."""
MAX_ACCOUNTS_ASKED = 50
_CLEAN_EVERY = 500


class Tally(NamedTuple):
    """How much was seen of a sender, faded to now."""

    junk: float = 0.0
    ham: float = 0.0
    seen: float = 0.0

    @property
    def said(self) -> float:
        """How often somebody said what it is."""
        return self.junk + self.ham


class Reputation(Protocol):
    """Knows senders by the keys of `policy.identity`."""

    def tallies(
        self, account_ids: Sequence[AccountId], senders: Sequence[str]
    ) -> Mapping[AccountId, Mapping[str, Tally]]:
        """What each of these accounts and `EVERYBODY` know about these senders; what nobody knows is missing."""
        ...

    def note(
        self, account_id: AccountId, senders: Sequence[str], *, junk: float = 0.0, ham: float = 0.0, seen: float = 0.0
    ) -> None:
        """Add to the tallies of one message's sender; below zero takes back."""
        ...


class SqliteReputation:
    """In `junk.db`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._log = structlog.get_logger("junk")
        self._writes = 0

    def tallies(
        self, account_ids: Sequence[AccountId], senders: Sequence[str]
    ) -> Mapping[AccountId, Mapping[str, Tally]]:
        """One statement."""
        ids = [EVERYBODY, *account_ids][: MAX_ACCOUNTS_ASKED + 1]
        found: dict[AccountId, dict[str, Tally]] = {}
        if not senders:
            return found
        now = self._clock.epoch_seconds()
        try:
            with self._database.reading() as connection:
                for account_id, sender, junk, ham, seen, at_seconds in connection.execute(
                    "SELECT account_id, sender, junk, ham, seen, at_seconds FROM reputation WHERE"  # noqa: S608
                    f" account_id IN ({_marks(ids)}) AND sender IN ({_marks(senders)})",
                    (*ids, *senders),
                ):
                    left = _left(now - at_seconds)
                    found.setdefault(account_id, {})[sender] = Tally(junk * left, ham * left, seen * left)
        except StoreError as error:
            self._log.warning("reputation_unreadable", code=error.code)
            return {}
        return found

    def note(
        self, account_id: AccountId, senders: Sequence[str], *, junk: float = 0.0, ham: float = 0.0, seen: float = 0.0
    ) -> None:
        """One transaction; addresses stay with the account, the rest also counts for everybody."""
        rows = [(account_id, sender) for sender in senders]
        rows += [(EVERYBODY, sender) for sender in senders if not sender.startswith("address:")]
        if not rows:
            return
        now = int(self._clock.epoch_seconds())
        try:
            with self._database.transaction(durable=False) as connection:
                for owner, sender in rows:
                    old = connection.execute(
                        "SELECT junk, ham, seen, at_seconds FROM reputation WHERE account_id = ? AND sender = ?",
                        (owner, sender),
                    ).fetchone() or (0.0, 0.0, 0.0, now)
                    left = _left(now - old[3])
                    new = [
                        max(0.0, value * left + more) for value, more in zip(old[:3], (junk, ham, seen), strict=True)
                    ]
                    connection.execute(
                        "INSERT INTO reputation (account_id, sender, junk, ham, seen, at_seconds) VALUES (?, ?, ?, ?, ?, ?)"
                        " ON CONFLICT (account_id, sender) DO UPDATE SET junk = excluded.junk, ham = excluded.ham,"
                        " seen = excluded.seen, at_seconds = excluded.at_seconds",
                        (owner, sender, *new, now),
                    )
                self._writes += 1
                if self._writes % _CLEAN_EVERY == 0:
                    connection.execute(
                        "DELETE FROM reputation WHERE at_seconds <= (SELECT at_seconds FROM reputation"
                        " ORDER BY at_seconds DESC LIMIT 1 OFFSET ?)",
                        (MAX_ROWS,),
                    )
        except StoreError as error:
            self._log.warning("reputation_unwritable", code=error.code)


def _left(age_seconds: float) -> float:
    return float(0.5 ** (max(age_seconds, 0.0) / HALF_LIFE_SECONDS))


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
