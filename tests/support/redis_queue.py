"""A queue in a test's own Redis."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mailbox_app.clock import Clock, SystemClock
from mailbox_app.config.schema import Queue
from mailbox_app.db.redis import RedisLink
from mailbox_app.events.hints import Bus
from mailbox_app.mailqueue.redis.backend import RedisQueue
from mailbox_app.mailqueue.spool import Spool
from tests.support.redis import RedisServer


def redis_queue(
    server: RedisServer,
    spool: Spool,
    bus: Bus,
    clock: Clock | None = None,
    *,
    node: str = "node-one",
    former: Sequence[str] = (),
    shared: Path | None = None,
    body_bytes: int = 1 << 20,
    replicas: int = 0,
    caller_time: bool = False,
) -> RedisQueue:
    link = RedisLink(Queue(backend="redis", redis_url=server.url), clock or SystemClock())
    return RedisQueue(
        link,
        spool,
        bus,
        clock,
        node=node,
        former=former,
        shared=shared,
        body_bytes=body_bytes,
        replicas=replicas,
        caller_time=caller_time,
    )
