"""Rates over Redis: one hash per window and slot, from key to count, which expires when the slot no longer counts.

An exchange is one script per window and slot, some hundred keys at a time. When its answer does not come in time the same
amounts are sent again: a limit is then reached a little early, never late.
"""

from __future__ import annotations

from mailbox_app.clock import Clock
from mailbox_app.db.redis import RedisLink
from mailbox_app.policy.state.rates import CountedRates, Slot

MAX_KEYS = 100_000
"""Of one window and slot: some 12 MB. Keys beyond that are counted by each process for itself."""
_AT_ONCE = 500
_LATE_SECONDS = 60
"""For clocks of nodes that differ."""

_ADD = """
local room = tonumber(ARGV[2]) - redis.call('HLEN', KEYS[2])
local found = {}
for at = 3, #ARGV, 2 do
    local key, amount = ARGV[at], tonumber(ARGV[at + 1])
    local now = tonumber(redis.call('HGET', KEYS[2], key) or -1)
    if amount > 0 and (now >= 0 or room > 0) then
        if now < 0 then room = room - 1 end
        now = redis.call('HINCRBY', KEYS[2], key, amount)
    end
    found[#found + 1] = tonumber(redis.call('HGET', KEYS[1], key) or 0)
    if now < 0 and amount == 0 then now = 0 end
    found[#found + 1] = now
end
redis.call('EXPIRE', KEYS[2], ARGV[1])
return found
"""


class RedisRates(CountedRates):
    """`Rates` for all processes of all nodes."""

    def __init__(self, link: RedisLink, clock: Clock) -> None:
        super().__init__(clock)
        self._link = link
        self._add = link.script(_ADD)

    def _exchange(self, new: dict[Slot, int]) -> dict[Slot, tuple[int, int]]:
        """Add to the hashes."""
        by_slot: dict[tuple[int, int], list[str]] = {}
        for key, window_seconds, slot in new:
            by_slot.setdefault((window_seconds, slot), []).append(key)
        totals = {}
        for (window_seconds, slot), keys in by_slot.items():
            names = [self._link.key("rates", str(window_seconds), str(each)) for each in (slot - 1, slot)]
            left = int((slot + 2) * window_seconds - self._clock.epoch_seconds()) + _LATE_SECONDS
            for start in range(0, len(keys), _AT_ONCE):
                some = keys[start : start + _AT_ONCE]
                args: list[str | int] = [max(left, _LATE_SECONDS), MAX_KEYS]
                for key in some:
                    args += (key, new[key, window_seconds, slot])
                found = self._add(names, args)
                for number, key in enumerate(some):
                    before, now = int(found[2 * number]), int(found[2 * number + 1])
                    if now >= 0:  # there was room for it
                        totals[key, window_seconds, slot] = before, now
        return totals
