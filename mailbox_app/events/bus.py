"""The bus of one process: hints from any thread become call-backs on its loop.

Hints published before the loop's next turn are merged; a hint reaches its subscribers within that turn. The hub, when there
is one, is told of local hints by `relay` and brings in those of other processes by `deliver`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from mailbox_app.events.hints import Topic

Callback = Callable[[], None]


class LocalBus:
    """Implements `Bus`. Hints published before `bind` wait for it; after the loop is closed they are dropped."""

    def __init__(self) -> None:
        self.relay: Callable[[Sequence[Topic]], None] | None = None
        """Told the topics of each turn that were published in this process."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._published: deque[Topic] = deque()
        self._scheduled = False
        self._subscribers: dict[Topic, dict[_Subscription, None]] = {}
        self._watchers: set[_Watch] = set()

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Call back on this loop."""
        self._loop = loop
        if self._published:
            self._schedule()

    def publish(self, topic: Topic) -> None:
        """Hint that something changed; safe from any thread; never raises."""
        self._published.append(topic)
        # Order matters: `_turn` clears the flag before it empties the queue, so a topic appended while the flag still
        # stands is seen by that turn.
        if not self._scheduled and self._loop is not None:
            self._schedule()

    def subscribe(self, topic: Topic, callback: Callback) -> _Subscription:
        """Call back (on the loop) at every hint for the topic, in the order of subscribing; the loop's thread only."""
        subscription = _Subscription(self._subscribers, topic, callback)
        self._subscribers.setdefault(topic, {})[subscription] = None
        return subscription

    def watch(self, callback: Callable[[Topic | None], None]) -> _Watch:
        """Call back (on the loop) at every hint for any topic, with None when hints may have been lost."""
        watch = _Watch(self._watchers, callback)
        self._watchers.add(watch)
        return watch

    def deliver(self, topic: Topic) -> None:
        """A hint from another process: call back, do not relay. On the loop."""
        for subscription in tuple(self._subscribers.get(topic, ())):
            subscription.call(self._loop)
        for watch in tuple(self._watchers):
            watch.call(self._loop, topic)

    def resync(self) -> None:
        """Hints may have been lost: call everybody back. On the loop."""
        for subscriptions in tuple(self._subscribers.values()):
            for subscription in tuple(subscriptions):
                subscription.call(self._loop)
        for watch in tuple(self._watchers):
            watch.call(self._loop, None)

    def _schedule(self) -> None:
        assert self._loop is not None
        self._scheduled = True
        try:
            self._loop.call_soon_threadsafe(self._turn)
        except RuntimeError:  # the loop is closed: the process is ending and nobody listens any more
            self._published.clear()

    def _turn(self) -> None:
        self._scheduled = False
        topics: dict[Topic, None] = {}
        while self._published:
            topics[self._published.popleft()] = None
        if self.relay is not None and topics:
            self.relay(tuple(topics))
        for topic in topics:
            self.deliver(topic)


class _Subscription:
    __slots__ = ("_all", "_callback", "_topic")

    def __init__(self, subscribers: dict[Topic, dict[_Subscription, None]], topic: Topic, callback: Callback) -> None:
        self._all = subscribers
        self._topic = topic
        self._callback: Callback | None = callback

    def call(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Through the loop, so that one subscriber's error reaches the loop's handler and no other subscriber."""
        if loop is not None:
            loop.call_soon(self._run)

    def close(self) -> None:
        """Stop the call-backs, also one already on its way."""
        self._callback = None
        subscriptions = self._all.get(self._topic)
        if subscriptions is not None:
            subscriptions.pop(self, None)
            if not subscriptions:
                del self._all[self._topic]

    def _run(self) -> None:
        if self._callback is not None:
            self._callback()


class _Watch:
    __slots__ = ("_all", "_callback")

    def __init__(self, watchers: set[_Watch], callback: Callable[[Topic | None], None]) -> None:
        self._all = watchers
        self._callback = callback

    def call(self, loop: asyncio.AbstractEventLoop | None, topic: Topic | None) -> None:
        """Through the loop, like subscribers."""
        if loop is not None:
            loop.call_soon(self._callback, topic)

    def close(self) -> None:
        """Stop the call-backs, but for those already on their way."""
        self._all.discard(self)
