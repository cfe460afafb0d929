"""The operators' scripts of the queue in Redis; they are put behind `scripts.LIBRARY`."""

CHANGE = """
call('DEL', P .. 'nothing')
local kind, now, value, extended, count = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), 0
local function changed(r)
  if kind == 'retry' then
    if r[STATE] ~= 'deferred' then return false end
    r[NEXT] = now
  elseif kind == 'hold' then
    if r[WAITS] ~= 'deferred' then return false end
    r[WAITS], r[WHY] = 'held', value
    if r[STATE] ~= 'active' then r[STATE] = 'held' end
  elseif kind == 'reroute' then
    r[ROUTE] = value
    if r[WAITS] == 'deferred' then r[NEXT] = now end
  else
    if r[WAITS] == 'deferred' then return false end
    r[NEXT] = (r[WAITS] == 'held' and r[TRIES] == 0) and math.max(r[NEXT], now) or now
    r[WAITS], r[WHY] = 'deferred', ''
    if r[STATE] ~= 'active' then r[STATE] = 'deferred' end
  end
  return true
end
for i = 5, #ARGV do
  local id, address = string.match(ARGV[i], '^([^/]*)/(.*)$')
  local r = record(id, address)
  local before = r and {[STATE] = r[STATE], [DEST] = r[DEST], [PRIO] = r[PRIO], [OWNER] = r[OWNER]}
  if r and changed(r) then
    unplace(ARGV[i], before)
    place(id, address, r)
    call('ZADD', P .. 'by:next', r[NEXT], ARGV[i])
    if kind == 'unhold' and (tonumber(call('HGET', P .. 'm:' .. id, 'exp')) or 0) < extended then
      call('HSET', P .. 'm:' .. id, 'exp', ARGV[4])
    end
    count = count + 1
  end
end
heads()
return count
"""

TAKE = """
call('DEL', P .. 'nothing')
local a = load(ARGV[1])
local till, base, members, groups, order, leases = server_time(a[1]) + a[2], a[3], a[4], {}, {}, {}
undo(a[5])
if call('EXISTS', P .. 'lease:' .. base .. '.1') == 1 then undo({{base, #members}}) end
for _, member in ipairs(members) do
  local id, address = string.match(member, '^([^/]*)/(.*)$')
  local r = record(id, address)
  if r and r[STATE] ~= 'active' then
    local key = id .. '/' .. r[1] .. '/' .. r[DEST]
    if not groups[key] then
      groups[key] = {id, {}}
      order[#order + 1] = key
    end
    local found = groups[key][2]
    found[#found + 1] = {address, r}
  end
end
for _, key in ipairs(order) do
  leases[#leases + 1] = lease(base .. '.' .. (#leases + 1), groups[key][1], groups[key][2], till)
end
heads()
return leases
"""

FORGET = """
call('DEL', P .. 'nothing')
local gone = call('ZRANGEBYSCORE', P .. 'finished', '-inf', '(' .. ARGV[1], 'LIMIT', 0, tonumber(ARGV[2]))
for _, member in ipairs(gone) do
  local id, address = string.match(member, '^([^/]*)/(.*)$')
  call('HDEL', P .. 'h:' .. id, address)
  call('ZREM', P .. 'finished', member)
  if call('EXISTS', P .. 'h:' .. id, P .. 'm:' .. id) == 0 then call('DEL', P .. 'a:' .. id) end
end
return #gone
"""

ADD_RULE = """
if call('HLEN', P .. 'rules') >= tonumber(ARGV[1]) then return 0 end
local number = call('INCR', P .. 'rules:next')
local rule = load(ARGV[2])
rule[1] = number
call('HSET', P .. 'rules', number, pack(rule))
call('INCR', P .. 'rules:version')
return number
"""

REMOVE_RULE = """
local rule = call('HGET', P .. 'rules', ARGV[1])
if not rule then return '' end
call('HDEL', P .. 'rules', ARGV[1])
call('INCR', P .. 'rules:version')
return rule
"""

PAUSE = """
if call('HEXISTS', P .. 'pauses', ARGV[1]) == 0 and call('HLEN', P .. 'pauses') >= tonumber(ARGV[3]) then return 0 end
call('HSET', P .. 'pauses', ARGV[1], ARGV[2])
return 1
"""

EXTEND = """
call('DEL', P .. 'nothing')
for i = 2, #ARGV do
  local expires = call('HGET', P .. 'm:' .. ARGV[i], 'exp')
  if expires and (tonumber(expires) or 0) < tonumber(ARGV[1]) then call('HSET', P .. 'm:' .. ARGV[i], 'exp', ARGV[1]) end
end
"""

POSTPONE = """
call('DEL', P .. 'nothing')
local from, reason, route, gap = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
local most, before, count = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
for i = 8, #ARGV do
  local id, address = string.match(ARGV[i], '^([^/]*)/(.*)$')
  local r = record(id, address)
  if r and r[STATE] == 'deferred' and r[1] == 'smtp' and r[ROUTE] == route and r[NEXT] < from then
    local last = (tonumber(call('HGET', P .. 'm:' .. id, 'exp')) or from) - before
    unplace(ARGV[i], r)
    r[NEXT] = math.max(r[NEXT], math.min(from + math.min(most, gap * count), last))
    r[WHY] = reason
    place(id, address, r)
    call('ZADD', P .. 'by:next', r[NEXT], ARGV[i])
    count = count + 1
  end
end
heads()
return count
"""

LET_GO = """
call('DEL', P .. 'nothing')
local id = ARGV[1]
local m, file = call('HMGET', P .. 'm:' .. id, 'e', 'file'), ''
if m[1] then
  local envelope = envelope_of(m[1])
  for _, address in ipairs(call('HKEYS', P .. 'r:' .. id)) do
    leave(id, address, record(id, address) or record(id, address), envelope)
  end
  file = m[2]
end
for _, address in ipairs(call('HKEYS', P .. 'h:' .. id)) do call('ZREM', P .. 'finished', id .. '/' .. address) end
call('DEL', P .. 'm:' .. id, P .. 'b:' .. id, P .. 'a:' .. id, P .. 'h:' .. id)
call('ZREM', P .. 'messages', id)
heads()
return file
"""

ADOPT_HISTORY = """
local id = ARGV[1]
if call('EXISTS', P .. 'm:' .. id, P .. 'h:' .. id) > 0 then return 0 end
for i = 2, #ARGV do
  local more = load(ARGV[i])
  if more[1] == 'attempt' then call('RPUSH', P .. 'a:' .. id, pack(more[2]))
  else
    call('HSET', P .. 'h:' .. id, more[2], pack(more[3]))
    call('ZADD', P .. 'finished', more[3][6], id .. '/' .. more[2])
  end
end
return 1
"""
