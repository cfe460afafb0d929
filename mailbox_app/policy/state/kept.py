"""Messages that were read, until it is known whether their reader keeps them; in `junk.db`. Blocks; safe from any thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mailbox_app.clock import Clock
from mailbox_app.db.sqlite import Database
from mailbox_app.ids import AccountId, MailboxId, Uid

KEPT_SECONDS = 86_400
"""What was read and still lies there so much later is wanted."""
MAX_WAITING = 200
"""Of one account: what is read beyond that is not waited for."""
_AT_ONCE = 50
_MAX_ACCOUNTS = 1_000


class Read(NamedTuple):
    """A message and where it lay when it was read."""

    digest: bytes
    mailbox_id: MailboxId
    uid: Uid


class KeptMail:
    """Who read what, a day ago."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def add(self, account_id: AccountId, messages: Sequence[Read]) -> None:
        """Messages that were read just now; known ones stay as they are."""
        now = int(self._clock.epoch_seconds())
        with self._database.transaction(durable=False) as connection:
            count = connection.execute("SELECT count(*) FROM kept WHERE account_id = ?", (account_id,)).fetchone()[0]
            connection.executemany(
                "INSERT OR IGNORE INTO kept (account_id, digest, mailbox_id, uid, at_seconds) VALUES (?, ?, ?, ?, ?)",
                [(account_id, *each, now) for each in messages[: max(0, MAX_WAITING - count)]],
            )

    def due(self, account_id: AccountId) -> Sequence[Read]:
        """Some of what was read long enough ago, the oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT digest, mailbox_id, uid FROM kept WHERE account_id = ? AND at_seconds <= ?"
                " ORDER BY at_seconds LIMIT ?",
                (account_id, self._since(), _AT_ONCE),
            ).fetchall()
        return [Read(bytes(digest), MailboxId(mailbox_id), Uid(uid)) for digest, mailbox_id, uid in rows]

    def accounts_due(self) -> Sequence[AccountId]:
        """The accounts for which `due` has something."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT DISTINCT account_id FROM kept WHERE at_seconds <= ? LIMIT ?", (self._since(), _MAX_ACCOUNTS)
            ).fetchall()
        return [AccountId(account_id) for (account_id,) in rows]

    def forget(self, account_id: AccountId, messages: Sequence[Read]) -> None:
        """They need not be waited for any more."""
        with self._database.transaction(durable=False) as connection:
            connection.executemany(
                "DELETE FROM kept WHERE account_id = ? AND digest = ?", [(account_id, each.digest) for each in messages]
            )

    def _since(self) -> int:
        return int(self._clock.epoch_seconds()) - KEPT_SECONDS
