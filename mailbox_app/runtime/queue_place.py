"""The queue's place has changed: what waits in the old one moves to the new one while the daemon runs.

A queue in Redis is remembered in the data folder, so that it is found when the configuration does not name it any more. A queue
that other nodes still deliver from stays with them. The mail that comes in meanwhile goes to the new place at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import structlog

from mailbox_app.clock import Clock
from mailbox_app.config.schema import Queue
from mailbox_app.db.offload import Offload
from mailbox_app.errors import MailboxError
from mailbox_app.events.hints import QUEUE_TOPIC
from mailbox_app.mailqueue.delivery_marks import settle_left_behind
from mailbox_app.mailqueue.moving import Move, Place, is_empty
from mailbox_app.mailqueue.opening import marks_folder, open_place, open_spool
from mailbox_app.runtime.parts import Parts

_REMEMBERED = "queue-redis.json"
_AGAIN_SECONDS = 10.0
_OTHERS_SECONDS = 600.0
"""A node that was not heard for so long does not deliver any more."""


def queue_jobs(parts: Parts) -> Sequence[Callable[[], Coroutine[Any, Any, None]]]:
    """What the core runs until the queue is in one place."""
    return (QueueMoves(parts).run,)


class QueueMoves:
    """Moves what waits where the configuration does not say, then is done."""

    def __init__(self, parts: Parts) -> None:
        self._settings: Queue = parts.config.queue
        self._data_dir = parts.data_dir
        self._offload: Offload = parts.offload
        self._clock: Clock = parts.clock
        self._parts = parts
        self._log = structlog.get_logger("queue")

    async def run(self) -> None:
        """Until all is moved; tries again for ever when one of the places cannot be reached."""
        while True:
            try:
                moved = [await self._move(old) for old in await self._offload.run(self._old_places)]
                if all(moved):
                    await self._offload.run(self._remember)
            except (MailboxError, OSError) as error:
                self._log.warning("the queue's old place cannot be emptied now, tried again", reason=str(error))
            else:
                return
            await self._clock.sleep(_AGAIN_SECONDS)

    def _old_places(self) -> list[Queue]:
        """Where mail may still wait besides the configured place."""
        places: list[Queue] = []
        if self._settings.backend == "redis" and (self._data_dir / "queue.db").exists():
            places.append(Queue())
        with suppress(FileNotFoundError):
            remembered = msgspec.json.decode((self._data_dir / _REMEMBERED).read_bytes(), type=Queue)
            if _identity(remembered) != _identity(self._settings):
                places.append(remembered)
        return places

    async def _move(self, old: Queue) -> bool:
        """Whether nothing of ours is left there."""
        source, target = await self._offload.run(self._open, old)
        try:
            if await self._offload.run(is_empty, source):
                return True
            if old.backend == "redis" and (others := await self._offload.run(source.others_heard, _OTHERS_SECONDS)):
                self._log.warning("other nodes deliver from the old queue, its mail stays there", nodes=len(others))
                return True
            marks = marks_folder(old, self._data_dir)
            await self._offload.run(settle_left_behind, source, marks, self._clock.now())
            await self._offload.run(source.recover, self._clock.now())
            move = Move(source, target, open_spool(self._settings, self._data_dir))
            self._log.info("the queue moves", to=self._settings.backend)
            while await self._offload.run(move.step):
                self._parts.bus.publish(QUEUE_TOPIC)
            await self._offload.run(move.finish, self._clock.now())
            self._log.info("the queue has moved", messages=move.moved)
            if move.unreadable:
                self._log.error("messages that cannot be read stay in the old queue", ids=move.unreadable[:100])
            return not move.unreadable
        finally:
            await self._offload.run(_close, source, target)

    def _open(self, old: Queue) -> tuple[Place, Place]:
        parts = self._parts
        return (
            open_place(old, self._data_dir, parts.bus, parts.clock),
            open_place(self._settings, self._data_dir, parts.bus, parts.clock),
        )

    def _remember(self) -> None:
        """Which Redis the queue is in, for the day when the configuration does not say it any more."""
        path: Path = self._data_dir / _REMEMBERED
        if self._settings.backend != "redis":
            path.unlink(missing_ok=True)
            return
        temporary = path.with_suffix(".new")
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(self._settings))
        os.rename(temporary, path)


def _identity(settings: Queue) -> tuple[str, ...]:
    return (settings.backend, settings.redis_url, settings.redis_prefix) if settings.backend == "redis" else ("sqlite",)


def _close(*places: Place) -> None:
    for place in places:
        place.close()
