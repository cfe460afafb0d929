"""The queue in Redis as a place that messages move to and from."""

from __future__ import annotations

from collections.abc import Sequence

from mailbox_app.errors import QueueError
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.model import QueueFilter, read_time
from mailbox_app.mailqueue.moving import Carried, moves_as
from mailbox_app.mailqueue.redis.access import ADOPT_HISTORY, ENQUEUE, LET_GO
from mailbox_app.mailqueue.redis.backend import RedisQueue
from mailbox_app.mailqueue.redis.rows import (
    encode,
    record_of,
    waits_as,
    write_attempt,
    write_envelope,
    write_finished,
)
from mailbox_app.mailqueue.spool import SpoolFile


class RedisPlace(RedisQueue):
    """Implements `moving.Place`."""

    def carried_ids(self, offset: int, limit: int) -> Sequence[QueueId]:
        """Ids of waiting messages, then of those of which only the history is left."""
        ids = self._command("ZRANGE", self._key("messages"), offset, offset + limit - 1)
        if not ids:
            left = self._command("ZRANGE", self._key("finished"), 0, limit - 1)
            ids = list(dict.fromkeys(name.partition(b"/")[0] for name in left))
            ids = [
                each for each, waits in zip(ids, self._known([one.decode() for one in ids]), strict=True) if not waits
            ]
        return [QueueId(each.decode()) for each in ids]

    def carry(self, queue_id: QueueId) -> Carried:
        """What is known of a message, without its bytes."""
        records = self._command("HGETALL", self._key(f"r:{queue_id}"))
        return Carried(
            queue_id,
            self.message(queue_id) if any(self._known([queue_id])) else None,
            {address.decode(): moves_as(waits_as(record)) for address, record in records.items()},
            self.attempts(queue_id),
            self.history(QueueFilter(ids=[queue_id]), 0, 1 << 30),
        )

    def adopt(self, carried: Carried, spool: SpoolFile | None) -> None:
        """Take it in, durable on return; nothing happens when the id is known already."""
        past = [write_attempt(one) for one in carried.attempts] + [write_finished(one) for one in carried.finished]
        if carried.message is None or spool is None:
            self._run_durably(ADOPT_HISTORY, carried.queue_id, *past)
            return
        message, queue_id = carried.message, carried.queue_id
        try:
            if self._command("EXISTS", self._key(f"m:{queue_id}"), self._key(f"h:{queue_id}")):
                return
            self._command("DEL", self._key(f"b:{queue_id}"))  # pieces of a move that was killed
            file, inline, is_loose = self._store_body(queue_id, spool, self._clock.now())
            head = (
                spool.size_bytes,
                message.arrived_at.timestamp(),
                message.expires_at.timestamp(),
                file,
                int(is_loose),
            )
            priority = int(message.envelope.priority)
            rows = [
                (
                    row.address,
                    row.address.lower(),
                    record_of(row, carried.waits_as[row.address].value, priority, self._node),
                )
                for row in message.recipients
            ]
            version = "0"
            for _ in range(10):
                start = (queue_id, message.envelope.sender, message.envelope.submitter, version)
                packed = encode((*start, *head, *rows))
                answer = self._run_durably(ENQUEUE, packed, write_envelope(message.envelope), inline, *past)
                if answer[0] != b"rules":
                    return
                version = answer[1].decode()
            raise QueueError("queue.busy", "the queue is busy", temporary=True)
        finally:
            self._spool.discard(spool.path)

    def let_go(self, queue_id: QueueId) -> None:
        """Forget it."""
        file = self._run(LET_GO, queue_id)
        if file:
            self._bodies.unshare([file.decode()])

    def others_heard(self, seconds: float) -> Sequence[str]:
        """Nodes besides this one that have taken mail from this queue lately."""
        time, nodes = self._commands([("TIME",), ("HGETALL", self._key("nodes"))])
        since = read_time(float(time[0])).timestamp() - seconds
        return [node.decode() for node, at in nodes.items() if float(at) > since and node.decode() != self._node]
