"""Bans over Redis: a hash from network to ban, an index of their ends, and a mark that every change makes new.

Each process looks at the mark once a second and reads the table when it is another one. While Redis is away the table stays as
it is; a ban made meanwhile holds in the process that made it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mailbox_app.clock import Clock
from mailbox_app.db.redis import RedisLink
from mailbox_app.policy.state import bans
from mailbox_app.policy.state.bans import REASON_CHARACTERS, Ban, BanTable

_NOT_READ = b"nothing read yet"
_ADD = """
-- KEYS: bans, their ends, the mark; ARGV: network, source, end ("0": never), the ban, now, most
local function drop(networks)
    for _, network in ipairs(networks) do
        redis.call('HDEL', KEYS[1], network)
        redis.call('ZREM', KEYS[2], network)
    end
end
drop(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[5], 'LIMIT', 0, 1000))
local ends = tonumber(ARGV[3])
if ARGV[2] ~= 'operator' and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then
    local old = redis.call('ZSCORE', KEYS[2], ARGV[1])
    if not old or tonumber(old) >= ends then return 0 end  -- an automatic ban never shortens another one
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
if ends > 0 then redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1]) else redis.call('ZREM', KEYS[2], ARGV[1]) end
local most = tonumber(ARGV[6])
if redis.call('HLEN', KEYS[1]) > most then
    drop(redis.call('ZRANGE', KEYS[2], 0, math.floor(most / 10)))
end
local time = redis.call('TIME')
redis.call('SET', KEYS[3], time[1] .. '.' .. time[2] .. '+' .. ARGV[1])
return 1
"""
_REMOVE = """
local ban = redis.call('HGET', KEYS[1], ARGV[1])
if not ban then return false end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
local time = redis.call('TIME')
redis.call('SET', KEYS[3], time[1] .. '.' .. time[2] .. '-' .. ARGV[1])
return ban
"""


class RedisBans(BanTable):
    """`Bans` for all processes of all nodes."""

    def __init__(self, link: RedisLink, clock: Clock) -> None:
        super().__init__(clock)
        self._link = link
        self._keys = [link.key("bans"), link.key("bans", "ends"), link.key("bans", "mark")]
        self._add, self._remove = link.script(_ADD), link.script(_REMOVE)
        self._mark: bytes | None = _NOT_READ

    def add(self, ban: Ban) -> None:
        """See `Bans`."""
        self._hold(ban)
        kept = Ban(ban.network, ban.source, ban.reason[:REASON_CHARACTERS], ban.made_at_seconds, ban.expires_at_seconds)
        self._add(
            self._keys,
            (
                kept.network,
                kept.source,
                repr(kept.expires_at_seconds),
                msgspec.json.encode(kept),
                repr(kept.made_at_seconds),
                bans.MAX_ROWS,
            ),
        )
        self._mark = _NOT_READ  # also when another ban stays instead of this one
        self.refresh()

    def remove(self, network: str) -> Ban | None:
        """See `Bans`."""
        found = self._remove(self._keys, (network,))
        self.refresh()
        return msgspec.json.decode(found, type=Ban) if found else None

    def all(self) -> Sequence[Ban]:
        """See `Bans`."""
        return self._read()[1]

    def _read_changes(self) -> None:
        if self._link.call(lambda client: client.get(self._keys[2])) == self._mark:
            return
        self._mark, found = self._read()
        self._replace(found)

    def _read(self) -> tuple[bytes | None, Sequence[Ban]]:
        """The mark and what it stands for, the newest first."""
        mark, rows = self._link.together(("GET", self._keys[2]), ("HVALS", self._keys[0]))
        now = self._clock.epoch_seconds()
        found = (msgspec.json.decode(row, type=Ban) for row in rows)
        kept = [ban for ban in found if not ban.expires_at_seconds or ban.expires_at_seconds > now]
        return mark, sorted(kept, key=lambda ban: ban.made_at_seconds, reverse=True)
