"""Breakers over Redis: one hash from host to breaker, so that a host that one node finds dead is passed over by all.

A step is made here and written if nobody else changed that breaker meanwhile, else made again with what is there now.
"""

from __future__ import annotations

from collections.abc import Sequence

from mailbox_app.db.redis import RedisLink
from mailbox_app.errors import StoreError
from mailbox_app.mailqueue.destinations.breaker import Breaker
from mailbox_app.mailqueue.destinations.breaker_store import KEPT_SECONDS, MAX_BREAKERS, Step, decode, encode, is_clean

_TRIES = 20
_REPLACE = """
-- KEYS: breakers; ARGV: host, what it was ('' for none), what it becomes ('' for none), most, seconds
local now = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if now ~= ARGV[2] then return 0 end
if ARGV[3] == '' then
    redis.call('HDEL', KEYS[1], ARGV[1])
elseif now ~= '' or redis.call('HLEN', KEYS[1]) < tonumber(ARGV[4]) then
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
    redis.call('EXPIRE', KEYS[1], ARGV[5])
end
return 1
"""


class RedisBreakerStore:
    """`BreakerStore` for all nodes. The whole of it is forgotten when nothing changed for a week."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._key = link.key("breakers")
        self._replace = link.script(_REPLACE)

    def change(self, host: str, step: Step) -> tuple[Breaker, Breaker]:
        """See `BreakerStore`."""
        for _ in range(_TRIES):
            old = self._link.call(lambda client: client.hget(self._key, host))
            stored = _bytes(old)
            before = decode(stored, host) if stored else Breaker(host)
            after = step(before)
            new = b"" if is_clean(after) else encode(after)
            if new == stored or self._replace([self._key], [host, stored, new, MAX_BREAKERS, int(KEPT_SECONDS)]):
                return before, after
        raise StoreError("redis.refused", "too many nodes change the same breaker", temporary=True)

    def all(self) -> Sequence[Breaker]:
        """See `BreakerStore`."""
        found = self._link.call(lambda client: client.hgetall(self._key))
        assert isinstance(found, dict)
        return [decode(_bytes(body), _bytes(host).decode()) for host, body in list(found.items())[:MAX_BREAKERS]]


def _bytes(value: object) -> bytes:
    """What Redis keeps, b"" for nothing."""
    if value is None:
        return b""
    return value if isinstance(value, bytes) else str(value).encode()
