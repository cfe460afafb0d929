"""How far the store's changes were read for learning, and which messages are or were in Junk; in `junk.db`. Blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mailbox_app.clock import Clock
from mailbox_app.db.sqlite import Database
from mailbox_app.ids import AccountId, MailboxId

MAX_MEMBERS = 20_000
"""Messages of one account that are remembered as having been in Junk."""
_KEPT_DAYS = 60
Mark = tuple[int, int]
"""(highest modseq, next UID) up to which a mailbox was read."""


class LearningMarks:
    """Safe from any thread."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def of(self, account_id: AccountId) -> Mapping[MailboxId, Mark]:
        """The marks of an account's mailboxes."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT mailbox_id, modseq, uidnext FROM mark WHERE account_id = ?", (account_id,)
            ).fetchall()
        return {MailboxId(mailbox_id): (modseq, uidnext) for mailbox_id, modseq, uidnext in rows}

    def were_junk(self, account_id: AccountId, digests: Sequence[bytes]) -> set[bytes]:
        """Those of these messages (at most 500) that are or were in Junk."""
        if not digests:
            return set()
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT digest FROM junk_member WHERE account_id = ? AND digest IN ({','.join('?' * len(digests))})",  # noqa: S608 - question marks
                (account_id, *digests),
            ).fetchall()
        return {bytes(digest) for (digest,) in rows}

    def note(self, account_id: AccountId, marks: Mapping[MailboxId, Mark], junk: Sequence[bytes]) -> None:
        """Move on: the marks as they are now, and messages that came into Junk."""
        day = int(self._clock.epoch_seconds() // 86_400)
        with self._database.transaction(durable=False) as connection:
            connection.executemany(
                "INSERT INTO mark (account_id, mailbox_id, modseq, uidnext) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (account_id, mailbox_id) DO UPDATE SET modseq = excluded.modseq, uidnext = excluded.uidnext",
                [(account_id, mailbox_id, *mark) for mailbox_id, mark in marks.items()],
            )
            if junk:
                connection.executemany(
                    "INSERT INTO junk_member (account_id, digest, day) VALUES (?, ?, ?)"
                    " ON CONFLICT (account_id, digest) DO UPDATE SET day = excluded.day",
                    [(account_id, digest, day) for digest in junk],
                )
                connection.execute(
                    "DELETE FROM junk_member WHERE account_id = ? AND day < ?", (account_id, day - _KEPT_DAYS)
                )
                connection.execute(
                    "DELETE FROM junk_member WHERE account_id = ? AND digest IN (SELECT digest FROM junk_member"
                    " WHERE account_id = ? ORDER BY day DESC LIMIT -1 OFFSET ?)",
                    (account_id, account_id, MAX_MEMBERS),
                )
