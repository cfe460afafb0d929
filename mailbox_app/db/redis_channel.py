"""A channel that all nodes publish to and hear: Redis keeps nothing of it, who is not there misses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailbox_app.db.redis import RedisLink

if TYPE_CHECKING:
    from redis.client import PubSub, Redis


class RedisChannel:
    """Everything blocks and raises `StoreError`. `publish` may be called while another thread waits in `receive`."""

    def __init__(self, link: RedisLink, name: str) -> None:
        self._link = link
        self._key = link.key(name)
        self._subscription: PubSub | None = None

    def publish(self, message: bytes) -> None:
        """To everybody who hears, ourselves included."""
        self._link.call(lambda client: client.publish(self._key, message))

    def open(self) -> None:
        """Hear from now on, on a connection of its own."""
        self.close()
        self._subscription = self._link.call(self._subscribe)

    def _subscribe(self, client: Redis) -> PubSub:
        from redis.client import PubSub

        subscription = PubSub(client.connection_pool, ignore_subscribe_messages=True)
        subscription.subscribe(self._key)
        return subscription

    def receive(self, seconds: float) -> bytes | None:
        """The next message; None when there was none for so long."""
        subscription = self._subscription
        assert subscription is not None
        found = self._link.aside(lambda _: subscription.get_message(timeout=seconds))
        data = found["data"] if found else None
        return data if isinstance(data, bytes) else None

    def close(self) -> None:
        """Hear nothing more."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()
