"""Moves a queue from one place to another, message by message, when the configuration names another backend.

A message is whole and durable in the new place before it leaves the old one, under the same id; killed in between, the next move
finds it in both and only removes it from the old one, also when the new place has delivered it meanwhile. So nothing is
lost and nothing goes out twice. Tries, times, holds, attempts and the history move along; what was being delivered waits again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mailbox_app.errors import QueueError
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.interface import QueueBackend
from mailbox_app.mailqueue.model import Attempt, Finished, QueuedMessage, RecipientState
from mailbox_app.mailqueue.spool import Spool, SpoolFile

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Carried:
    """All that a queue knows of one message; `message` is None when only its history is left."""

    queue_id: QueueId
    message: QueuedMessage | None
    waits_as: dict[str, RecipientState]
    """What each recipient is when it is not being delivered."""
    attempts: Sequence[Attempt]
    finished: Sequence[Finished]


class Place(QueueBackend, Protocol):
    """A backend that messages can leave and enter whole."""

    def carried_ids(self, offset: int, limit: int) -> Sequence[QueueId]:
        """Ids of waiting messages, then of those of which only the history is left."""
        ...

    def carry(self, queue_id: QueueId) -> Carried:
        """What is known of a message, without its bytes."""
        ...

    def adopt(self, carried: Carried, spool: SpoolFile | None) -> None:
        """Take it in, durable on return; nothing happens when the id is known already. Takes over the file."""
        ...

    def let_go(self, queue_id: QueueId) -> None:
        """Forget it."""
        ...

    def others_heard(self, seconds: float) -> Sequence[str]:
        """Other nodes that have taken mail from it so lately."""
        ...

    def close(self) -> None:
        """Give back files and connections."""
        ...


class Move:
    """A move under way; `step` until nothing is left. Synchronous: call through `db.offload`."""

    def __init__(self, source: Place, target: Place, spool: Spool) -> None:
        self._source = source
        self._target = target
        self._spool = spool
        self.moved = 0
        self.unreadable: list[QueueId] = []
        """They stay where they are."""
        self._vanished: set[QueueId] = set()

    def step(self, limit: int = 20) -> bool:
        """Move some messages; whether there may be more. Trouble is a temporary `QueueError`: call again later."""
        ids = self._source.carried_ids(len(self.unreadable), limit)
        for queue_id in ids:
            self._one(queue_id)
        return bool(ids)

    def finish(self, now: datetime) -> None:
        """Hold rules and pauses go along when the messages have."""
        known = {(rule.sender, rule.recipient, rule.submitter) for rule in self._target.rules()}
        for rule in self._source.rules():
            if (rule.sender, rule.recipient, rule.submitter) not in known:
                self._target.add_rule(rule)
            self._source.remove_rule(rule.number)
        for pause in self._source.pauses():
            self._target.pause(pause)
            self._source.resume(pause.destination, now)

    def _one(self, queue_id: QueueId) -> None:
        try:
            carried = self._source.carry(queue_id)
            spool = None if carried.message is None else self._copy(queue_id, carried.message.size_bytes)
        except QueueError as error:
            if error.code not in ("queue.unreadable", "queue.no_such_id"):
                raise
            if error.code == "queue.no_such_id" and queue_id not in self._vanished:  # it has left meanwhile, it seems
                self._vanished.add(queue_id)
                return
            self.unreadable.append(queue_id)
            return
        self._target.adopt(carried, spool)
        self._source.let_go(queue_id)
        self.moved += 1

    def _copy(self, queue_id: QueueId, size_bytes: int) -> SpoolFile:
        if size_bytes <= _PIECE_BYTES:
            return self._spool.write(b"", self._source.content(queue_id, 0, _PIECE_BYTES))
        with tempfile.TemporaryFile(dir=self._spool.directory) as file:
            while piece := self._source.content(queue_id, file.tell(), _PIECE_BYTES):
                file.write(piece)
            return self._spool.write(b"", file)


def moves_as(state: str) -> RecipientState:
    """What waits as this; a lease does not move."""
    return RecipientState.DEFERRED if state == RecipientState.ACTIVE else RecipientState(state)


def is_empty(place: Place) -> bool:
    """Whether there is nothing to move."""
    return not place.carried_ids(0, 1) and not place.rules() and not place.pauses()
