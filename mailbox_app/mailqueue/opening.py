"""Opens the queue that the configuration names; what is not used is not loaded.

The spool of a queue in Redis only passes bytes on and gives leases their copies, so nothing in it is synced.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from mailbox_app.clock import Clock
from mailbox_app.config.schema import Queue
from mailbox_app.db.redis import RedisLink
from mailbox_app.errors import QueueError
from mailbox_app.events.hints import Bus
from mailbox_app.mailqueue.interface import QueueBackend
from mailbox_app.mailqueue.moving import Place
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.mailqueue.sqlite.backend import SqliteQueue

_NODE_FILE = "node"
_FORMER_NAMES = 20


class OpenQueue(QueueBackend, Protocol):
    """A backend that somebody must close."""

    def close(self) -> None:
        """Give back files and connections."""
        ...


def load(settings: Queue) -> None:
    """Import what the backend needs.

    Before root is given up, for the user may not be allowed to read the program, and before the first fork, so that all
    processes share its memory.
    """
    if settings.backend == "redis":
        import redis.client  # noqa: F401

        import mailbox_app.mailqueue.redis.moving  # noqa: F401


def open_spool(settings: Queue, data_dir: Path) -> Spool:
    """Where messages are written before the queue has them; two folders, since each backend removes what it does not know."""
    if settings.backend == "sqlite":
        return Spool(data_dir / "queue")
    return Spool(data_dir / "queue-passing", durable=False)


def marks_folder(settings: Queue, data_dir: Path) -> Path:
    """Where this node marks what it has delivered from that queue."""
    return data_dir / ("queue-marks" if settings.backend == "sqlite" else "queue-passing-marks")


def open_queue(
    settings: Queue, data_dir: Path, spool: Spool, bus: Bus, clock: Clock, link: RedisLink | None = None
) -> OpenQueue:
    """The configured backend, over the process's link when there is one. Redis need not be reachable now."""
    if settings.backend == "sqlite":
        return SqliteQueue(data_dir / "queue.db", spool, bus, clock)
    from mailbox_app.mailqueue.redis.backend import RedisQueue

    return RedisQueue(link or RedisLink(settings, clock), spool, bus, clock, **_redis_settings(settings, data_dir))


def open_place(settings: Queue, data_dir: Path, bus: Bus, clock: Clock) -> Place:
    """A backend that messages can move to and from; in use by others at the same time."""
    spool = open_spool(settings, data_dir)
    if settings.backend == "sqlite":
        from mailbox_app.mailqueue.sqlite.moving import SqlitePlace

        return SqlitePlace(data_dir / "queue.db", spool, bus, clock)
    from mailbox_app.mailqueue.redis.moving import RedisPlace

    return RedisPlace(RedisLink(settings, clock), spool, bus, clock, **_redis_settings(settings, data_dir))


def _redis_settings(settings: Queue, data_dir: Path) -> dict[str, Any]:
    name, former = node_names(data_dir)
    return {
        "node": name,
        "former": former,
        "shared": Path(settings.shared_dir) if settings.shared_dir else None,
        "body_bytes": settings.redis_body_bytes,
        "replicas": settings.redis_replicas,
    }


def node_names(data_dir: Path) -> tuple[str, Sequence[str]]:
    """Which node this is, and which it was before the machine was renamed or the data folder came here.

    Chance kept in the data folder and the machine's name make it: two machines with a copy each are two nodes.
    """
    path = data_dir / _NODE_FILE
    try:
        with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # all processes of a node start at the same moment
            file.seek(0)
            chance, *names = file.read().split() or [""]
            if not chance:
                chance = secrets.token_hex(16)
                file.write(f"{chance}\n")
            name = hashlib.sha256(f"{chance} {socket.gethostname()}".encode()).hexdigest()[:16]
            if not names or names[-1] != name:
                file.write(f"{name}\n")
    except OSError as error:
        raise QueueError("queue.full", "the data folder is not writable now", temporary=True) from error
    return name, [each for each in dict.fromkeys(names) if each != name][-_FORMER_NAMES:]
