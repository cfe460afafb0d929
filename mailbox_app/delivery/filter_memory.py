"""What filters must not do twice: who had an answer, which identities `duplicate` saw, how much was sent today. In `state.db`.

One truth for all processes. Keys are stored as digests: nothing of a message or its sender can be read from here. What is over
is removed on the way, and one account never has more than `_MAX_ROWS` of a kind; the ones that end first go. Storage trouble
errs on the safe side: nothing was seen before and mail goes on to where its owner wants it (so nothing is lost), and no answers
are sent. Blocking.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Literal

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.sqlite import Database
from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountId

_MAX_ROWS = 10_000
_DIGEST_BYTES = 16
_BOUND_CHANCE = 0.01
"""How often a new row looks whether there are too many; counting them each time costs more than a few too many."""
_DAY_SECONDS = 86_400

Kind = Literal["vacation", "duplicate", "imap"]
Sent = Literal["redirect", "answer"]


class FilterMemory:
    """Safe from any thread."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._log = structlog.get_logger("delivery")

    def seen(self, account_id: AccountId, kind: Kind, key: str) -> bool:
        """Whether this is remembered now."""
        try:
            with self._database.reading() as connection:
                found = connection.execute(
                    "SELECT 1 FROM filter_memory WHERE account_id = ? AND kind = ? AND digest = ? AND until_seconds > ?",
                    (account_id, kind, _digest(key), self._clock.epoch_seconds()),
                ).fetchone()
        except StoreError as error:
            self._log.warning("filter_memory_unreadable", code=error.code)
            return False
        return found is not None

    def remember(self, account_id: AccountId, kind: Kind, items: Sequence[tuple[str, float]]) -> None:
        """Keep these keys, each for so many seconds from now."""
        now = self._clock.epoch_seconds()
        rows = [(account_id, kind, _digest(key), now + seconds) for key, seconds in items]
        try:
            with self._database.transaction(durable=False) as connection:
                connection.execute("DELETE FROM filter_memory WHERE until_seconds <= ?", (now,))
                connection.executemany(
                    "INSERT INTO filter_memory (account_id, kind, digest, until_seconds) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (account_id, kind, digest) DO UPDATE SET until_seconds = excluded.until_seconds",
                    rows,
                )
                if random.random() < _BOUND_CHANCE * len(rows):
                    connection.execute(
                        "DELETE FROM filter_memory WHERE account_id = ? AND kind = ? AND digest IN (SELECT digest FROM"
                        " filter_memory WHERE account_id = ? AND kind = ? ORDER BY until_seconds DESC LIMIT -1 OFFSET ?)",
                        (account_id, kind, account_id, kind, _MAX_ROWS),
                    )
        except StoreError as error:
            self._log.warning("filter_memory_unwritable", code=error.code)

    def claim(self, account_id: AccountId, kind: Kind, key: str, seconds: float) -> bool:
        """Remember a key that is not remembered; False when it is: of several who ask at once, one is told True."""
        now = self._clock.epoch_seconds()
        try:
            with self._database.transaction(durable=False) as connection:
                connection.execute("DELETE FROM filter_memory WHERE until_seconds <= ?", (now,))
                cursor = connection.execute(
                    "INSERT INTO filter_memory (account_id, kind, digest, until_seconds) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (account_id, kind, digest) DO NOTHING",
                    (account_id, kind, _digest(key), now + seconds),
                )
                return cursor.rowcount == 1
        except StoreError as error:
            self._log.warning("filter_memory_unwritable", code=error.code)
            return False

    def forget(self, account_id: AccountId, kind: Kind, key: str) -> None:
        """Take a claim back: what it was for did not happen."""
        try:
            with self._database.transaction(durable=False) as connection:
                connection.execute(
                    "DELETE FROM filter_memory WHERE account_id = ? AND kind = ? AND digest = ?",
                    (account_id, kind, _digest(key)),
                )
        except StoreError as error:
            self._log.warning("filter_memory_unwritable", code=error.code)

    def may_send(self, account_id: AccountId, kind: Sent, limit: int, count: int = 1) -> bool:
        """Take `count` of today's share; False, and nothing taken, when they are more than what is left.

        Trouble with the file stops answers, which nobody misses, and no redirects, for a redirected copy is somebody's mail.
        """
        day = int(self._clock.epoch_seconds() // _DAY_SECONDS)
        try:
            with self._database.transaction(durable=False) as connection:
                row = connection.execute(
                    "SELECT day, count FROM filter_counts WHERE account_id = ? AND kind = ?", (account_id, kind)
                ).fetchone()
                used = row[1] if row is not None and row[0] == day else 0
                if used + count > limit:
                    return False
                connection.execute(
                    "INSERT INTO filter_counts (account_id, kind, day, count) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (account_id, kind) DO UPDATE SET day = excluded.day, count = excluded.count",
                    (account_id, kind, day, used + count),
                )
        except StoreError as error:
            self._log.warning("filter_memory_unwritable", code=error.code)
            return kind == "redirect"
        return True


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()
