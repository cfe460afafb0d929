"""An operator's filter over the queue in Redis: the sets a recipient must be in, and the scripts that look for it.

A filter becomes conditions, each a sorted set a recipient's name must be in (with what is put before it), an age and a text. The
scripts look at a bounded number of names and say where to go on, so a long queue is looked through in pieces. The
recipients that Python asks about again by name have been chosen before: a filter is always applied by Redis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from mailbox_app.mailqueue.model import Finished, QueueFilter, RecipientState
from mailbox_app.mailqueue.schedule import LIFETIME

SORTS = {
    "next": "by:next",
    "age": "all",
    "size": "by:size",
    "sender": "by:sender",
    "recipient": "by:recipient",
    "attempts": "by:attempts",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """The set `key` has `before + name`; `ordered`: its names stand in order of id and address."""

    key: str
    before: str = ""
    ordered: bool = True


@dataclass(frozen=True, slots=True)
class Search:
    """A filter as the scripts want it; `ids` are left to the caller."""

    conditions: tuple[Condition, ...]
    oldest_at: float | None
    text: str
    untold_until: float | None = None
    """Expires by then, and its sender has not been told that it is late."""
    waiting_only: bool = False
    """Not what is being delivered."""

    @property
    def is_everything(self) -> bool:
        """Whether all recipients meet it."""
        return not self.conditions and self.oldest_at is None and not self.text and not self.waiting_only

    @property
    def only_set(self) -> Condition | None:
        """The one set whose names are exactly those that are meant, if there is one."""
        simple = len(self.conditions) == 1 and self.oldest_at is None and not self.text and not self.waiting_only
        return self.conditions[0] if simple else None

    def encoded(self) -> bytes:
        """For the scripts."""
        conditions = [(condition.key, condition.before) for condition in self.conditions]
        times = [-1 if at is None else at for at in (self.oldest_at, self.untold_until)]
        return msgspec.msgpack.encode((conditions, times[0], self.text, times[1], int(self.waiting_only)))


def search_of(where: QueueFilter, now: datetime) -> Search:
    """All of the filter but its ids."""
    conditions: list[Condition] = []
    if where.sender.startswith("@"):
        conditions.append(Condition(f"from:{where.sender[1:].lower()}"))
    elif where.sender:
        sender = "" if where.sender == "<>" else where.sender.lower()
        conditions.append(Condition("by:sender", f"{sender}\0"))
    if where.recipient.startswith("@"):
        conditions.append(Condition(f"dest:{where.recipient[1:].lower()}"))
    elif where.recipient:
        conditions.append(Condition("by:recipient", f"{where.recipient.lower()}\0"))
    if where.submitter:
        conditions.append(Condition(f"sub:{where.submitter.lower()}"))
    if where.domain:
        conditions.append(Condition(f"dest:{where.domain.lower()}"))
    if where.state is RecipientState.DEFERRED:
        conditions.append(Condition("due", ordered=False))
    elif where.state is not None:
        conditions.append(Condition(f"state:{where.state.value}"))
    oldest_at = None if where.older_than_seconds is None else now.timestamp() - where.older_than_seconds
    untold_until = None
    if where.late_seconds is not None:
        late = now.timestamp() - where.late_seconds
        oldest_at = late if oldest_at is None else min(oldest_at, late)
        untold_until = late + LIFETIME.total_seconds()
    return Search(tuple(conditions), oldest_at, where.text.lower(), untold_until)


SIFTING = """
local function sift(members, spec)
  for _, condition in ipairs(spec[1]) do
    if #members == 0 then return members end
    local asked = members
    if condition[2] ~= '' then
      asked = {}
      for i, member in ipairs(members) do asked[i] = condition[2] .. member end
    end
    local scores, kept = call('ZMSCORE', P .. condition[1], unpack(asked)), {}
    for i, member in ipairs(members) do
      if scores[i] then kept[#kept + 1] = member end
    end
    members = kept
  end
  if spec[5] == 1 and #members > 0 then
    local scores, kept = call('ZMSCORE', P .. 'state:active', unpack(members)), {}
    for i, member in ipairs(members) do
      if not scores[i] then kept[#kept + 1] = member end
    end
    members = kept
  end
  if spec[2] >= 0 and #members > 0 then
    local ids, kept = {}, {}
    for i, member in ipairs(members) do ids[i] = string.match(member, '^[^/]*') end
    local scores = call('ZMSCORE', P .. 'messages', unpack(ids))
    for i, member in ipairs(members) do
      if scores[i] and tonumber(scores[i]) <= spec[2] then kept[#kept + 1] = member end
    end
    members = kept
  end
  if spec[3] ~= '' and #members > 0 then
    local texts, kept = call('HMGET', P .. 'text', unpack(members)), {}
    for i, member in ipairs(members) do
      if texts[i] and string.find(texts[i], spec[3], 1, true) then kept[#kept + 1] = member end
    end
    members = kept
  end
  if spec[4] >= 0 then
    local kept = {}
    for _, member in ipairs(members) do
      local id, address = string.match(member, '^([^/]*)/(.*)$')
      local expires, value = call('HGET', P .. 'm:' .. id, 'exp'), call('HGET', P .. 'r:' .. id, address)
      local r = sound(value)
      if r and tonumber(expires) and tonumber(expires) <= spec[4] and r[TOLD] == 0 then kept[#kept + 1] = member end
    end
    members = kept
  end
  return members
end
"""

SCAN = """
local spec, source, before, cursor = load(ARGV[1]), P .. ARGV[2], ARGV[3], ARGV[4]
local budget, limit, goes_on, found = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == '1', {'', 0}
local last = '+'
if before ~= '' then last = '(' .. before .. '\\255' end
while true do
  local names = call('ZRANGEBYLEX', source, cursor == '' and '[' .. before or '(' .. cursor, last, 'LIMIT', 0, 1000)
  cursor = names[#names]
  local count = #names
  if before ~= '' then
    for i, name in ipairs(names) do names[i] = string.sub(name, #before + 1) end
  end
  local kept = sift(names, spec)
  found[2] = found[2] + #kept
  for _, member in ipairs(kept) do
    if #found < limit + 2 then found[#found + 1] = member
    elseif goes_on then break
    else return found end
  end
  budget = budget - 1000
  if count < 1000 then return found end
  if budget <= 0 then
    found[1] = cursor
    return found
  end
end
"""

WALK = """
local spec, source, from, backwards = load(ARGV[1]), P .. ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
local budget, limit, found = tonumber(ARGV[5]), tonumber(ARGV[6]), {''}
while true do
  local names = call(backwards and 'ZREVRANGE' or 'ZRANGE', source, from, from + 999)
  local count = #names
  if string.sub(source, -9) == 'by:sender' or string.sub(source, -12) == 'by:recipient' then
    for i, name in ipairs(names) do names[i] = string.match(name, '%z(.*)$') end
  end
  for _, member in ipairs(sift(names, spec)) do
    if #found > limit then return found end
    found[#found + 1] = member
  end
  from, budget = from + 1000, budget - 1000
  if count < 1000 or #found > limit then return found end
  if budget <= 0 then
    found[1] = tostring(from)
    return found
  end
end
"""

SIFT = """
local spec, members = load(ARGV[1]), {}
for i = 2, #ARGV do members[i - 1] = ARGV[i] end
return sift(members, spec)
"""

ROWS = """
local rows, messages, seen = {}, {}, {}
for _, member in ipairs(ARGV) do
  local id, address = string.match(member, '^([^/]*)/(.*)$')
  local value = call('HGET', P .. 'r:' .. id, address)
  if value then
    rows[#rows + 1] = id
    rows[#rows + 1] = address
    rows[#rows + 1] = value
    if not seen[id] then
      seen[id] = true
      messages[#messages + 1] = id
      messages[#messages + 1] = call('HMGET', P .. 'm:' .. id, 'e', 'size', 'arr', 'exp', 'file')
    end
  end
end
return {rows, messages}
"""


def history_matches(where: QueueFilter, now: datetime) -> Callable[[Finished], bool]:
    """The filter over what has left, as `rows.finished_condition` has it: the state does not count."""
    limit = None if where.older_than_seconds is None else now.timestamp() - where.older_than_seconds
    text = where.text.lower()

    def matches(one: Finished) -> bool:
        return (
            (not where.ids or one.queue_id in where.ids)
            and _meets(where.sender, one.sender)
            and _meets(where.recipient, one.address)
            and _meets(where.submitter, one.submitter)
            and (not where.domain or one.address.lower().endswith("@" + where.domain.lower()))
            and (limit is None or one.finished_at.timestamp() <= limit)
            and (not text or text in f"{one.sender} {one.address} {one.text}".lower())
        )

    return matches


def _meets(wanted: str, address: str) -> bool:
    if wanted == "<>":
        return not address
    if wanted.startswith("@"):
        return address.lower().endswith(wanted.lower())
    return not wanted or address.lower() == wanted.lower()
