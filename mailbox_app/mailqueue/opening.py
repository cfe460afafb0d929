"""Opens the queue that the configuration names; what is not used is not loaded.

The spool of a queue in Redis only passes bytes on and gives leases their copies, so nothing in it is synced.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from pathlib import Path
from typing import Any, Protocol

from mailbox_app.clock import Clock
from mailbox_app.config.schema import Queue
from mailbox_app.errors import QueueError
from mailbox_app.events.hints import Bus
from mailbox_app.mailqueue.interface import QueueBackend
from mailbox_app.mailqueue.moving import Place
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.mailqueue.sqlite import SqliteQueue

_NODE_FILE = "node"


class OpenQueue(QueueBackend, Protocol):
    """A backend that somebody must close."""

    def close(self) -> None:
        """Give back files and connections."""
        ...


def open_spool(settings: Queue, data_dir: Path) -> Spool:
    """Where messages are written before the queue has them; two folders, since each backend removes what it does not know."""
    if settings.backend == "sqlite":
        return Spool(data_dir / "queue")
    return Spool(data_dir / "queue-passing", durable=False)


def open_queue(settings: Queue, data_dir: Path, spool: Spool, bus: Bus, clock: Clock) -> OpenQueue:
    """The configured backend. Redis need not be reachable now."""
    if settings.backend == "sqlite":
        return SqliteQueue(data_dir / "queue.db", spool, bus, clock)
    from mailbox_app.db.redis import RedisLink
    from mailbox_app.mailqueue.redis_queue import RedisQueue

    return RedisQueue(RedisLink(settings, clock), spool, bus, clock, **_redis_settings(settings, data_dir))


def open_place(settings: Queue, data_dir: Path, bus: Bus, clock: Clock) -> Place:
    """A backend that messages can move to and from; in use by others at the same time."""
    spool = open_spool(settings, data_dir)
    if settings.backend == "sqlite":
        from mailbox_app.mailqueue.sqlite_moving import SqlitePlace

        return SqlitePlace(data_dir / "queue.db", spool, bus, clock)
    from mailbox_app.db.redis import RedisLink
    from mailbox_app.mailqueue.redis_moving import RedisPlace

    return RedisPlace(RedisLink(settings, clock), spool, bus, clock, **_redis_settings(settings, data_dir))


def _redis_settings(settings: Queue, data_dir: Path) -> dict[str, Any]:
    return {
        "node": node_name(data_dir),
        "shared": Path(settings.shared_dir) if settings.shared_dir else None,
        "body_bytes": settings.redis_body_bytes,
        "replicas": settings.redis_replicas,
    }


def node_name(data_dir: Path) -> str:
    """Which node this is: chance, kept in the data folder, and the machine's name, so that a copied folder is another node."""
    path = data_dir / _NODE_FILE
    try:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(16))
        chance = path.read_text("ascii")
    except OSError as error:
        raise QueueError("queue.full", "the data folder is not writable now", temporary=True) from error
    return hashlib.sha256(f"{chance} {socket.gethostname()}".encode()).hexdigest()[:16]
