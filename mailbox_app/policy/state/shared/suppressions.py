"""Suppressions over Redis: a hash from address to what is known of it, an index of their last failures, and a mark of changes."""

from __future__ import annotations

from collections.abc import Sequence

from mailbox_app.clock import Clock
from mailbox_app.db.redis import RedisLink
from mailbox_app.policy.state.suppressions import KEPT_SECONDS, MAX_ROWS, Suppression, SuppressionTable

_NOT_READ = b"nothing read yet"
_AT_ONCE = 500
_CHANGED = """
local time = redis.call('TIME')
redis.call('SET', KEYS[3], time[1] .. '.' .. time[2])
"""
_WRITE = (
    """
-- KEYS: what is known, last failures, mark; ARGV: now, seconds kept, most, then address, "1" for a failure, text
local now, kept = tonumber(ARGV[1]), tonumber(ARGV[2])
local function drop(address)
    redis.call('HDEL', KEYS[1], address)
    redis.call('ZREM', KEYS[2], address)
end
for at = 4, #ARGV, 3 do
    local address, days, last = ARGV[at], nil, nil
    local old = redis.call('HGET', KEYS[1], address)
    if old then
        days, last = string.match(old, '^([^\\n]*)\\n([^\\n]*)')
        days, last = tonumber(days), tonumber(last)
    end
    if days ~= 0 then  -- an operator's own stays as it is
        if ARGV[at + 1] ~= '1' then
            drop(address)
        else
            if not days or last < now - kept then days = 1
            elseif math.floor(now / 86400) > math.floor(last / 86400) then days = days + 1 end
            redis.call('HSET', KEYS[1], address, days .. '\\n' .. ARGV[1] .. '\\n' .. ARGV[at + 2])
            redis.call('ZADD', KEYS[2], now, address)
        end
    end
end
for _, address in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - kept, 'LIMIT', 0, 1000)) do drop(address) end
local over = redis.call('HLEN', KEYS[1]) - tonumber(ARGV[3])
if over > 0 then
    for _, address in ipairs(redis.call('ZRANGE', KEYS[2], 0, over - 1)) do drop(address) end
end
"""
    + _CHANGED
)
_ADD = (
    """
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[1])
"""
    + _CHANGED
)
_REMOVE = (
    """
local old = redis.call('HGET', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
"""
    + _CHANGED
    + "return old"
)


class RedisSuppressions(SuppressionTable):
    """`Suppressions` for all processes of all nodes."""

    def __init__(self, link: RedisLink, clock: Clock) -> None:
        super().__init__(clock)
        self._link = link
        self._keys = [link.key("suppressed"), link.key("suppressed", "last"), link.key("suppressed", "mark")]
        self._write_all, self._add, self._remove = (link.script(each) for each in (_WRITE, _ADD, _REMOVE))
        self._mark: bytes | None = _NOT_READ

    def add(self, address: str, text: str) -> Suppression:
        """See `Suppressions`."""
        made = self._made(address, text)
        self._add(self._keys, (made.address, f"{made.days}\n{made.last_at_seconds!r}\n{made.text}"))
        self.sync()
        return made

    def remove(self, address: str) -> Suppression | None:
        """See `Suppressions`."""
        found = self._remove(self._keys, (address.lower(),))
        self.sync()
        return _read(address.lower(), found) if found else None

    def all(self, limit: int) -> Sequence[Suppression]:
        """See `Suppressions`."""
        since = self._clock.epoch_seconds() - KEPT_SECONDS
        found = [each for each in self._look()[1] if each.holds and (not each.days or each.last_at_seconds >= since)]
        return sorted(found, key=lambda each: each.last_at_seconds, reverse=True)[:limit]

    def _write(self, pending: Sequence[tuple[str, bool, str]]) -> None:
        for start in range(0, len(pending), _AT_ONCE):
            args: list[str | int] = [repr(self._clock.epoch_seconds()), int(KEPT_SECONDS), MAX_ROWS]
            for address, failed, text in pending[start : start + _AT_ONCE]:
                args += (address, "1" if failed else "", text)
            self._write_all(self._keys, args)

    def _read_changes(self) -> None:
        if self._link.call(lambda client: client.get(self._keys[2])) == self._mark:
            return
        self._mark, found = self._look()
        self._known = {each.address: each for each in found}

    def _look(self) -> tuple[bytes | None, Sequence[Suppression]]:
        """The mark and what it stands for."""
        mark, names, values = self._link.together(
            ("GET", self._keys[2]), ("HKEYS", self._keys[0]), ("HVALS", self._keys[0])
        )
        return mark, [_read(name.decode(), value) for name, value in zip(names, values, strict=True)]


def _read(address: str, value: bytes) -> Suppression:
    days, last, text = value.decode("utf-8", "replace").split("\n", 2)
    return Suppression(address, int(days), float(last), text)
