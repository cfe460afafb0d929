"""Many recipients of one destination put off in one statement: what nobody would take now need not be claimed one by one."""

from __future__ import annotations

from datetime import datetime

from mailbox_app.mailqueue.schedule import LAST_TRY_BEFORE_EXPIRY
from mailbox_app.mailqueue.sqlite.access import SqliteAccess

POSTPONED_AT_ONCE = 10_000

_POSTPONE = """
    UPDATE recipient SET
        next_at = max(next_at, min(planned.at, (SELECT m.expires_at - ?1 FROM message m WHERE m.queue_id = planned.queue_id))),
        hold_reason = ?2
    FROM (
        SELECT queue_id, address, ?3 + min(?4, ?5 * (row_number() OVER (ORDER BY priority, next_at) - 1)) AS at
        FROM recipient
        WHERE destination = ?6 AND route = ?7 AND transport = 'smtp' AND state = 'deferred' AND next_at < ?3
        ORDER BY priority, next_at LIMIT ?8
    ) AS planned
    WHERE recipient.queue_id = planned.queue_id AND recipient.address = planned.address
"""


class SqlitePostponing(SqliteAccess):
    """A part of `SqliteQueue`."""

    def postpone(
        self,
        destination: str,
        until: datetime,
        reason: str,
        *,
        route: str = "",
        gap_seconds: float,
        most_seconds: float,
    ) -> int:
        """See `QueueBackend`."""
        with self._transaction() as connection:
            changed = connection.execute(
                _POSTPONE,
                (LAST_TRY_BEFORE_EXPIRY.total_seconds(), reason, until.timestamp(), most_seconds, gap_seconds,
                 destination, route, POSTPONED_AT_ONCE),
            )  # fmt: skip
            return changed.rowcount
