"""Failed logins over Redis: for each network a sorted set of its failures by time, and one of all networks by their last one.

A set expires with the window, and a network that is refused adds nothing to it. A guess is known by two bytes of a digest whose
key each daemon keeps for itself, so the same wrong password is a different guess at each node: Redis holds nothing that helps
to find out what was guessed.
"""

from __future__ import annotations

from hashlib import blake2b

from mailbox_app.accounts.login_failures import FailureStore
from mailbox_app.accounts.login_guard import WINDOW_SECONDS
from mailbox_app.db.redis import RedisLink

_MAX_OF_NETWORK = 200
_MAX_NETWORKS = 50_000
"""Some 30 MB; those whose last failure is longest ago go first."""

_COUNT = """
local seen, guesses, failures = {}, 0, 0
for _, row in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf')) do
    local guess, name = string.sub(row, 1, 4), string.sub(row, 5, 20)
    if not seen[guess] then seen[guess], guesses = true, guesses + 1 end
    if name == ARGV[2] then failures = failures + 1 end
end
return {guesses, failures}
"""
_ADD = """
-- KEYS: failures of the network, networks; ARGV: root, network, row, now, window, most of a network, most networks
local function guesses()
    local seen, count = {}, 0
    for _, row in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
        local guess = string.sub(row, 1, 4)
        if not seen[guess] then seen[guess], count = true, count + 1 end
    end
    return count
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[8])
local before = guesses()
local number = redis.call('ZCARD', KEYS[1])
redis.call('ZADD', KEYS[1], ARGV[4], ARGV[3] .. ARGV[4] .. '.' .. number)
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[6]) - 1)
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[5])
local over = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[8], 'LIMIT', 0, 20)
if redis.call('ZCARD', KEYS[2]) > tonumber(ARGV[7]) then over = redis.call('ZRANGE', KEYS[2], 0, 9) end
for _, network in ipairs(over) do
    redis.call('ZREM', KEYS[2], network)
    redis.call('DEL', ARGV[1] .. network)
end
return {before, guesses()}
"""


class RedisFailures(FailureStore):
    """`FailureStore` for all processes of all nodes."""

    def __init__(self, link: RedisLink) -> None:
        self._root = link.key("failures", "")
        self._networks = link.key("failures")
        self._count = link.script(_COUNT)
        self._add = link.script(_ADD)

    def count(self, network: str, name: str, since_seconds: float) -> tuple[int, int]:
        """See `FailureStore`."""
        guesses, failures = self._count((self._root + network,), (repr(since_seconds), _name(name)))
        return int(guesses), int(failures)

    def add(self, network: str, name: str, guess: bytes, now_seconds: float) -> tuple[int, int]:
        """See `FailureStore`."""
        before, after = self._add(
            (self._root + network, self._networks),
            (
                self._root,
                network,
                guess.hex() + _name(name),
                repr(now_seconds),
                int(WINDOW_SECONDS),
                _MAX_OF_NETWORK,
                _MAX_NETWORKS,
                repr(now_seconds - WINDOW_SECONDS),
            ),
        )
        return int(before), int(after)


def _name(name: str) -> str:
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
