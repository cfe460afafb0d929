# ruff: noqa: S608 - only constants are put into statements; values are always bound
"""The queue in SQLite as a place that messages move to and from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from sqlite3 import Connection

from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.model import QueueFilter
from mailbox_app.mailqueue.moving import Carried, moves_as
from mailbox_app.mailqueue.spool import SpoolFile
from mailbox_app.mailqueue.sqlite.backend import SqliteQueue
from mailbox_app.mailqueue.sqlite.rows import FINISHED, marks

_MESSAGE = (
    "queue_id, sender, body, smtputf8, ret, envid, submitter, message_id, size_bytes, arrived_at, expires_at, spool_name,"
    " require_tls, tls_optional, priority, release_request"
)
_RECIPIENT = (
    "queue_id, address, transport, destination, state, waits_as, attempts, next_at, last_code, last_enhanced, last_text,"
    " last_host, notify, orcpt, lease_token, lease_until, priority, route, hold_reason, delay_told"
)


class SqlitePlace(SqliteQueue):
    """Implements `moving.Place`."""

    def carried_ids(self, offset: int, limit: int) -> Sequence[QueueId]:
        """Ids of waiting messages, then of those of which only the history is left."""
        with self._reading() as connection:
            ids = [
                row[0]
                for row in connection.execute(
                    "SELECT queue_id FROM message ORDER BY arrived_at, queue_id LIMIT ? OFFSET ?", (limit, offset)
                )
            ]
            if not ids:
                ids = [
                    row[0]
                    for row in connection.execute(
                        "SELECT DISTINCT queue_id FROM finished f"
                        " WHERE NOT EXISTS (SELECT 1 FROM message m WHERE m.queue_id = f.queue_id) LIMIT ?",
                        (limit,),
                    )
                ]
        return ids

    def carry(self, queue_id: QueueId) -> Carried:
        """What is known of a message, without its bytes."""
        with self._reading() as connection:
            states = dict(
                connection.execute("SELECT address, waits_as FROM recipient WHERE queue_id = ?", (queue_id,)).fetchall()
            )
            waits = connection.execute("SELECT 1 FROM message WHERE queue_id = ?", (queue_id,)).fetchone() is not None
        return Carried(
            queue_id,
            self.message(queue_id) if waits else None,
            {address: moves_as(state) for address, state in states.items()},
            self.attempts(queue_id),
            self.history(QueueFilter(ids=[queue_id]), 0, 1 << 30),
        )

    def adopt(self, carried: Carried, spool: SpoolFile | None) -> None:
        """Take it in, durable on return; nothing happens when the id is known already."""
        queue_id = carried.queue_id
        with self._transaction() as connection:
            known = connection.execute(
                "SELECT 1 FROM message WHERE queue_id = ?1 UNION ALL SELECT 1 FROM finished WHERE queue_id = ?1",
                (queue_id,),
            ).fetchone()
            if known is None:
                if carried.message is not None and spool is not None:
                    self._insert_message(connection, carried, spool)
                connection.executemany(
                    "INSERT INTO attempt (queue_id, at, address, fate, code, text, host, tls, duration_seconds)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    [
                        (queue_id, one.at.timestamp(), one.address, one.fate.value, one.code, one.text, one.host, one.tls,
                         one.duration_seconds)
                        for one in carried.attempts
                    ],
                )  # fmt: skip
                connection.executemany(
                    f"INSERT INTO finished ({FINISHED}) VALUES ({marks(FINISHED.split(','))})",
                    [
                        (queue_id, one.address, one.sender, one.submitter, one.message_id, one.size_bytes,
                         one.arrived_at.timestamp(), one.finished_at.timestamp(), one.fate.value, one.code, one.enhanced,
                         one.text, one.host, one.tls, one.attempts)
                        for one in reversed(carried.finished)
                    ],
                )  # fmt: skip
        if known is not None and spool is not None:
            self._spool.discard(spool.path)

    def _insert_message(self, connection: Connection, carried: Carried, spool: SpoolFile) -> None:
        message = carried.message
        assert message is not None
        envelope, queue_id, priority = message.envelope, carried.queue_id, int(message.envelope.priority)
        connection.execute(
            f"INSERT INTO message ({_MESSAGE}) VALUES ({marks(_MESSAGE.split(','))})",
            (queue_id, envelope.sender, envelope.body, envelope.smtputf8, envelope.ret, envelope.envid, envelope.submitter,
             envelope.message_id, spool.size_bytes, message.arrived_at.timestamp(), message.expires_at.timestamp(),
             os.path.basename(spool.path), envelope.require_tls, envelope.tls_optional, priority,
             envelope.release_request),
        )  # fmt: skip
        connection.executemany(
            f"INSERT INTO recipient ({_RECIPIENT}) VALUES ({marks(_RECIPIENT.split(','))})",
            [
                (queue_id, row.address, row.transport, row.destination, carried.waits_as[row.address].value,
                 carried.waits_as[row.address].value, row.attempts, row.next_at.timestamp(), row.last_code,
                 row.last_enhanced, row.last_text, row.last_host, row.notify, row.orcpt, "", 0.0, priority, row.route,
                 row.hold_reason, int(row.delay_told))
                for row in message.recipients
            ],
        )  # fmt: skip

    def others_heard(self, seconds: float) -> Sequence[str]:
        """None: it belongs to one machine."""
        return ()

    def let_go(self, queue_id: QueueId) -> None:
        """Forget it; the file goes after the rows."""
        with self._transaction() as connection:
            for table in ("recipient", "attempt", "finished"):
                connection.execute(f"DELETE FROM {table} WHERE queue_id = ?", (queue_id,))
            row = connection.execute(
                "DELETE FROM message WHERE queue_id = ? RETURNING spool_name", (queue_id,)
            ).fetchone()
        if row is not None:
            self._spool.discard(os.path.join(self._spool.directory, row[0]))
