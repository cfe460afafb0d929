"""Building blocks for queue tests: a bus that remembers, and messages put into a real spool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from mailbox_app.events.hints import Subscription, Topic
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.interface import QueueBackend
from mailbox_app.mailqueue.model import Envelope, Fate, NewRecipient, Outcome
from mailbox_app.mailqueue.spool import Spool

MESSAGE = b"From: a@here.example\r\nTo: b@there.example\r\nSubject: hi\r\nMessage-ID: <1@here.example>\r\n\r\n.dot\r\nbody\r\n"


class RecordingBus:
    """Calls subscribers at once, remembers topics."""

    def __init__(self) -> None:
        self.published: list[Topic] = []
        self._subscribers: list[tuple[Topic, Callable[[], None]]] = []

    def publish(self, topic: Topic) -> None:
        self.published.append(topic)
        for wanted, callback in list(self._subscribers):
            if wanted == topic:
                callback()

    def subscribe(self, topic: Topic, callback: Callable[[], None]) -> Subscription:
        entry = (topic, callback)
        self._subscribers.append(entry)
        return _Closing(lambda: self._subscribers.remove(entry))


class _Closing:
    def __init__(self, close: Callable[[], None]) -> None:
        self.close = close


def put(
    backend: QueueBackend,
    spool: Spool,
    now: datetime,
    recipients: Sequence[str | NewRecipient] = ("bob@there.example",),
    sender: str = "alice@here.example",
    content: bytes = MESSAGE,
    due_at: datetime | None = None,
    envelope: Envelope | None = None,
) -> QueueId:
    """Queue one message."""
    new = [NewRecipient(one) if isinstance(one, str) else one for one in recipients]
    return backend.enqueue(envelope or Envelope(sender), new, spool.write(b"", content), now, due_at=due_at)


def outcome(address: str, fate: Fate, code: int = 0, text: str = "") -> Outcome:
    code = code or {Fate.DELIVERED: 250, Fate.DEFERRED: 451}.get(fate, 550)
    return Outcome(address, fate, code, f"{code // 100}.0.0", text or fate.value, "mx.there.example", "TLSv1.3", 0.5)
