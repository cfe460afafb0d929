"""Hints: "something changed there". The store's modseq log is the truth; a lost hint costs a delay, never a message.

`Bus` is what the store, the queue and sessions see. One process has one bus; `events/hub.py` joins the buses of all
processes through run/hub.sock. Publishing never blocks and never fails; a subscriber that was overrun or cut off is
told to resynchronise by getting the same call-back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Topic = str
"""`account:<account id>` (its mailboxes changed), `queue` (something became due), `directory`, `config`."""


def account_topic(account_id: int) -> Topic:
    """The topic on which changes of one account's mailboxes are hinted."""
    return f"account:{account_id}"


QUEUE_TOPIC: Topic = "queue"
DIRECTORY_TOPIC: Topic = "directory"
REPAIRS_TOPIC: Topic = "repairs"
"""The store put something right: the core writes it into the audit."""


class Subscription(Protocol):
    """An open subscription; close it when done."""

    def close(self) -> None:
        """Stop the call-backs."""
        ...


class Bus(Protocol):
    """Publish and subscribe on the running loop of one process."""

    def publish(self, topic: Topic) -> None:
        """Hint that something changed; safe from any thread; never raises."""
        ...

    def subscribe(self, topic: Topic, callback: Callable[[], None]) -> Subscription:
        """Call back (on the loop) at every hint for the topic; calls may be merged; the loop's thread only."""
        ...
