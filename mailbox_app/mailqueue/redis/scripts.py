"""What the queue changes in Redis, as Lua: each script is one atomic, durable step.

Below the prefix: `m:<id>` a message's hash, `r:<id>` its recipients (address to record), `b:<id>` its body in pieces, `a:<id>` its
attempts, `h:<id>` its recipients that have left. A recipient's name in every sorted set is `<id>/<address>`: `due` by time with
only the deferred ones, `due:<priority>:<destination>` the same per destination, `heads:<priority>` each destination by the time
of its first (what goes into mailboxes of one node has that node's name behind the destination); `state:*`, `dest:*`,
`from:*`, `sub:*` for filters and `by:*` for sorting. `leases` has each token by its end, `lease:<token>` what it owns. A record
is an array, see `rows.py`. No script looks at more than its arguments say: Redis serves others in between. Whatever
takes nothing new in starts with a harmless deletion, because Redis lets a script that has written already go on when its
memory is full. What is asked a second time writes something again: a connection that has written nothing has nothing to wait for
when it asks whether its writes are safe.
"""

LIBRARY = """
local P = KEYS[1]
local call, pack, load = redis.call, cmsgpack.pack, cmsgpack.unpack
local DEST, STATE, WAITS, TRIES, NEXT, CODE, ENH, TEXT, HOST = 2, 3, 4, 5, 6, 7, 8, 9, 10
local ROUTE, WHY, TOLD, TOKEN, PRIO, OWNER = 13, 14, 15, 16, 17, 18
local PLACES = {deferred = true, active = true, held = true, quarantined = true}
local DAMAGED = 'what the queue knows about this message cannot be read'
local touched = {}

local function sound(value)
  if not value then return nil end
  local ok, r = pcall(load, value)
  if ok and type(r) == 'table' and #r >= PRIO and type(r[1]) == 'string' and type(r[DEST]) == 'string'
    and PLACES[r[STATE]] and PLACES[r[WAITS]] and type(r[TRIES]) == 'number' and type(r[NEXT]) == 'number'
    and (r[PRIO] == 0 or r[PRIO] == 1 or r[PRIO] == 2) then return r end
  return nil
end

local function domain(address)
  return string.lower(string.match(address, '[^@]*$'))
end

local function put_aside(id, address)
  local member, dest, transport, prio, owner = id .. '/' .. address, domain(address), 'smtp', 1, ''
  call('ZREM', P .. 'due', member)
  for state in pairs(PLACES) do call('ZREM', P .. 'state:' .. state, member) end
  local names = call('HKEYS', P .. 'nodes')
  names[#names + 1] = ''
  for _, node in ipairs(names) do
    local name = node == '' and dest or dest .. '\\0' .. node
    for one = 0, 2 do
      if call('ZREM', P .. 'due:' .. one .. ':' .. name, member) == 1 then
        prio, owner = one, node
        touched[one .. ':' .. name] = {tostring(one), name}
      end
    end
  end
  if call('HEXISTS', P .. 'r:' .. id, address) == 0 then return end
  if owner ~= '' then transport = 'local' end
  local time = call('TIME')
  call('HSET', P .. 'r:' .. id, address, pack({transport, dest, 'quarantined', 'quarantined', 0, tonumber(time[1]), 0, '', '', '',
    '', '', '', DAMAGED, 0, '', prio, owner}))
  call('ZADD', P .. 'state:quarantined', 0, member)
end

local function record(id, address)
  local value = call('HGET', P .. 'r:' .. id, address)
  local r = sound(value)
  if not r then put_aside(id, address) end
  return r
end

local function envelope_of(packed)
  local ok, e = pcall(load, packed or '')
  if ok and type(e) == 'table' and #e >= 10 and type(e[1]) == 'string' and type(e[6]) == 'string'
    and type(e[7]) == 'string' then return e, true end
  return {'', '8BITMIME', 0, '', '', '', '', 0, 0, 1}, false
end

local function heads()
  for key, where in pairs(touched) do
    local first = call('ZRANGE', P .. 'due:' .. key, 0, 0, 'WITHSCORES')
    if first[1] then call('ZADD', P .. 'heads:' .. where[1], first[2], where[2])
    else call('ZREM', P .. 'heads:' .. where[1], where[2]) end
  end
  touched = {}
end

local function row_of(r)
  local name = r[DEST]
  if (r[OWNER] or '') ~= '' then name = name .. '\\0' .. r[OWNER] end
  local key = r[PRIO] .. ':' .. name
  touched[key] = {r[PRIO], name}
  return key
end

local function unplace(member, r)
  if r[STATE] == 'deferred' then
    local key = row_of(r)
    call('ZREM', P .. 'due', member)
    call('ZREM', P .. 'due:' .. key, member)
  else call('ZREM', P .. 'state:' .. r[STATE], member) end
end

local function place(id, address, r)
  local member = id .. '/' .. address
  call('HSET', P .. 'r:' .. id, address, pack(r))
  if r[STATE] == 'deferred' then
    call('ZADD', P .. 'due', r[NEXT], member)
    call('ZADD', P .. 'due:' .. row_of(r), r[NEXT], member)
  else call('ZADD', P .. 'state:' .. r[STATE], 0, member) end
end

local function haystack(member, sender, address, text)
  call('HSET', P .. 'text', member, string.lower(sender .. ' ' .. address .. ' ' .. text))
end

local function arrive(id, address, lower, r, sender, submitter, size)
  local member = id .. '/' .. address
  place(id, address, r)
  call('ZADD', P .. 'all', 0, member)
  call('ZADD', P .. 'by:next', r[NEXT], member)
  call('ZADD', P .. 'by:size', size, member)
  call('ZADD', P .. 'by:attempts', r[TRIES], member)
  call('ZADD', P .. 'by:sender', 0, string.lower(sender) .. '\\0' .. member)
  call('ZADD', P .. 'by:recipient', 0, lower .. '\\0' .. member)
  call('ZADD', P .. 'dest:' .. r[DEST], 0, member)
  call('ZADD', P .. 'from:' .. domain(sender), 0, member)
  if submitter ~= '' then call('ZADD', P .. 'sub:' .. submitter, 0, member) end
  call('ZINCRBY', P .. 'dests', 1, r[DEST])
  haystack(member, sender, address, r[TEXT])
end

local function leave(id, address, r, envelope)
  local member = id .. '/' .. address
  unplace(member, r)
  for _, key in ipairs({'all', 'by:next', 'by:size', 'by:attempts', 'dest:' .. r[DEST], 'from:' .. domain(envelope[1])}) do
    call('ZREM', P .. key, member)
  end
  call('ZREM', P .. 'by:sender', string.lower(envelope[1]) .. '\\0' .. member)
  local lower = call('HGET', P .. 'lower', member)
  call('ZREM', P .. 'by:recipient', (lower or string.lower(address)) .. '\\0' .. member)
  if lower then call('HDEL', P .. 'lower', member) end
  if envelope[6] ~= '' then call('ZREM', P .. 'sub:' .. envelope[6], member) end
  if tonumber(call('ZINCRBY', P .. 'dests', -1, r[DEST])) <= 0 then call('ZREM', P .. 'dests', r[DEST]) end
  call('HDEL', P .. 'text', member)
  call('HDEL', P .. 'r:' .. id, address)
end

local function emptied(id)
  if call('EXISTS', P .. 'r:' .. id) == 1 then return '' end
  local file = call('HGET', P .. 'm:' .. id, 'file')
  call('DEL', P .. 'm:' .. id, P .. 'b:' .. id)
  call('ZREM', P .. 'messages', id)
  return file or ''
end

local function put_back(token)
  local value = call('GET', P .. 'lease:' .. token)
  call('ZREM', P .. 'leases', token)
  if not value then return false end
  local ok, lease = pcall(load, value)
  if not ok or type(lease) ~= 'table' then lease = {} end
  for i = 2, #lease do
    local r = record(lease[1], lease[i])
    if r and r[TOKEN] == token then
      unplace(lease[1] .. '/' .. lease[i], r)
      r[STATE], r[TOKEN] = r[WAITS], ''
      place(lease[1], lease[i], r)
    end
  end
  call('DEL', P .. 'lease:' .. token)
  return true
end

local function server_time(given)
  if given ~= '' then return tonumber(given) end
  local time = call('TIME')
  return time[1] + time[2] / 1000000
end

local function spoil(id, found, m)
  local e, is_sound = envelope_of(m[1])
  if not is_sound then e[1] = string.match(call('HGET', P .. 'text', id .. '/' .. found[1][1]) or '', '^(%S*) ') or '' end
  local time = call('TIME')[1]
  call('HSET', P .. 'm:' .. id, 'e', pack(e), 'size', tonumber(m[2]) or 0, 'arr', tonumber(m[3]) and m[3] or time,
    'exp', tonumber(m[4]) and m[4] or time + 432000, 'file', m[5] or '')
  if not call('ZSCORE', P .. 'messages', id) then call('ZADD', P .. 'messages', time, id) end
  for _, one in ipairs(found) do
    local address, r = one[1], one[2]
    unplace(id .. '/' .. address, r)
    r[STATE], r[WAITS], r[WHY], r[TOKEN] = 'quarantined', 'quarantined', DAMAGED, ''
    place(id, address, r)
  end
end

local function lease(token, id, found, till)
  local names, given = {id}, {}
  local message = call('HMGET', P .. 'm:' .. id, 'e', 'size', 'arr', 'exp', 'file')
  local _, is_sound = envelope_of(message[1])
  if not (is_sound and tonumber(message[2]) and tonumber(message[3]) and tonumber(message[4])) then
    return spoil(id, found, message)
  end
  for _, one in ipairs(found) do
    local address, r = one[1], one[2]
    unplace(id .. '/' .. address, r)
    r[STATE], r[TOKEN] = 'active', token
    place(id, address, r)
    names[#names + 1] = address
    given[#given + 1] = address
    given[#given + 1] = pack(r)
  end
  call('SET', P .. 'lease:' .. token, pack(names))
  call('ZADD', P .. 'leases', till, token)
  return {token, id, message, given, string.format('%.17g', till)}
end

local function undo(bases)
  for _, base in ipairs(bases) do
    for number = 1, base[2] do put_back(base[1] .. '.' .. number) end
  end
end
"""

ENQUEUE = """
local m = load(ARGV[1])
local id, sender, submitter = m[1], m[2], m[3]
if call('EXISTS', P .. 'm:' .. id, P .. 'h:' .. id) > 0 then
  call('SET', P .. 'again', id)
  return {'again'}
end
local version = call('GET', P .. 'rules:version') or '0'
if version ~= m[4] then return {'rules', version, call('HVALS', P .. 'rules')} end
call('HSET', P .. 'm:' .. id, 'e', ARGV[2], 'size', m[5], 'arr', m[6], 'exp', m[7], 'file', m[8])
if m[9] == 1 then call('ZREM', P .. 'loose', id) elseif m[8] == '' then call('RPUSH', P .. 'b:' .. id, ARGV[3]) end
call('ZADD', P .. 'messages', m[6], id)
for i = 10, #m do
  local one = m[i]
  if call('HEXISTS', P .. 'r:' .. id, one[1]) == 0 then
    if one[2] ~= string.lower(one[1]) then call('HSET', P .. 'lower', id .. '/' .. one[1], one[2]) end
    arrive(id, one[1], one[2], one[3], sender, submitter, m[5])
  end
end
for i = 4, #ARGV do
  local more = load(ARGV[i])
  if more[1] == 'attempt' then call('RPUSH', P .. 'a:' .. id, pack(more[2]))
  else
    call('HSET', P .. 'h:' .. id, more[2], pack(more[3]))
    call('ZADD', P .. 'finished', more[3][6], id .. '/' .. more[2])
  end
end
heads()
return {'new'}
"""

APPEND = """
local body = P .. 'b:' .. ARGV[1]
if call('LLEN', body) <= tonumber(ARGV[2]) then call('RPUSH', body, ARGV[3]) end
"""

CLAIM = """
call('DEL', P .. 'nothing')
local a = load(ARGV[1])
local now, node, base, limit, seconds, share_of, held, running, lost = a[1], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10]
local time = server_time(a[2])
local spared, share, leases = {}, {}, {}
undo(lost)
if call('EXISTS', P .. 'lease:' .. base .. '.1') == 1 then undo({{base, limit}}) end
for i = 1, #running do share[running[i][1]] = running[i][2] end
for _, token in ipairs(held) do
  spared[token] = true
  local till = call('ZSCORE', P .. 'leases', token)
  if till and tonumber(till) < time + seconds / 2 then call('ZADD', P .. 'leases', time + seconds, token) end
end
local own = {[''] = true, [node] = true}
for _, former in ipairs(a[13]) do own[former] = true end
if a[2] == '' then
  local nodes, latest, mine = call('HGETALL', P .. 'nodes'), 0, 0
  for i = 1, #nodes, 2 do
    latest = math.max(latest, tonumber(nodes[i + 1]))
    if nodes[i] ~= node and time - nodes[i + 1] < 600 then own[nodes[i]] = nil end
    if nodes[i] == node then mine = tonumber(nodes[i + 1]) end
  end
  if latest > 0 and time - latest > a[11] then call('SET', P .. 'grace', time + a[11] / 2) end
  if time - mine > a[11] / 4 then call('HSET', P .. 'nodes', node, time) end
end
if time >= tonumber(call('GET', P .. 'grace') or '0') then
  for _, token in ipairs(call('ZRANGEBYSCORE', P .. 'leases', '-inf', time, 'LIMIT', 0, 500)) do
    if not spared[token] then put_back(token) end
  end
end
heads()
if call('HEXISTS', P .. 'pauses', '') == 1 then return leases end
local paused = {}
for _, destination in ipairs(call('HKEYS', P .. 'pauses')) do paused[destination] = true end
local function first_due(priority)
  local from = 0
  while true do
    local found = call('ZRANGEBYSCORE', P .. 'heads:' .. priority, '-inf', now, 'WITHSCORES', 'LIMIT', from, 20)
    for i = 1, #found, 2 do
      local dest, owner = string.match(found[i], '^(%Z*)%z?(.*)$')
      if not paused[dest] and (share[dest] or 0) < share_of and own[owner] then
        return found[i], tonumber(found[i + 1])
      end
    end
    if #found < 40 then return nil end
    from = from + 20
  end
end
local turn, spoilt = a[12], 0
local function next_head()
  local priority, dest, since
  turn = turn + 1
  for one = 0, 2 do
    local found, at = first_due(one)
    if found and (not dest or at < since) then priority, dest, since = one, found, at end
    if dest and turn % 4 ~= 0 then break end
  end
  return priority, dest
end
while #leases < limit do
  local priority, dest = next_head()
  if not dest then break
  else
    local name = string.match(dest, '^%Z*')
    share[name] = (share[name] or 0) + 1
    local due = P .. 'due:' .. priority .. ':' .. dest
    local first = call('ZRANGE', due, 0, 0)[1]
    local id, address = string.match(first, '^([^/]*)/(.*)$')
    local r = record(id, address)
    if r and r[STATE] ~= 'deferred' then
      call('ZREM', P .. 'due', first)
      call('ZREM', due, first)
      touched[priority .. ':' .. dest] = {tostring(priority), dest}
      r = nil
    end
    local found, given = {{address, r}}, nil
    if r and call('HLEN', P .. 'r:' .. id) > 1 then
      for _, member in ipairs(call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 1, 199)) do
        local other, name = string.match(member, '^([^/]*)/(.*)$')
        if other == id and #found < 100 then
          local also = record(id, name)
          if also and also[STATE] == 'deferred' and also[1] == r[1] then found[#found + 1] = {name, also} end
        end
      end
    end
    if r then given = lease(base .. '.' .. (#leases + 1), id, found, time + seconds) end
    heads()
    if given then leases[#leases + 1] = given
    else
      share[name], spoilt = share[name] - 1, spoilt + 1
      if spoilt == 100 then break end
    end
  end
end
return leases
"""

SETTLE = """
call('DEL', P .. 'nothing')
local a = load(ARGV[1])
local now, lost, files = a[1], {}, {}
local function wait(id, r, done, sender)
  local member = id .. '/' .. done[1]
  r[STATE], r[TOKEN], r[NEXT] = r[WAITS], '', done[9]
  if r[WAITS] == 'deferred' then r[WHY] = done[2] == 'postponed' and done[5] or '' end
  if done[2] ~= 'postponed' then
    r[CODE], r[ENH], r[TEXT], r[HOST] = done[3], done[4], done[5], done[6]
    haystack(member, sender, done[1], done[5])
  end
  if done[2] == 'deferred' then
    r[TRIES] = r[TRIES] + 1
    call('ZADD', P .. 'by:attempts', r[TRIES], member)
  elseif done[2] == 'quarantined' then r[STATE], r[WAITS], r[WHY] = 'quarantined', 'quarantined', done[5] end
  place(id, done[1], r)
  call('ZADD', P .. 'by:next', r[NEXT], member)
end
local function settle(token, outcomes, told)
  local _, owned = pcall(load, call('GET', P .. 'lease:' .. token))
  if type(owned) ~= 'table' then owned = {''} end
  local id, mine = owned[1], {}
  for i = 2, #owned do mine[owned[i]] = true end
  local m = call('HMGET', P .. 'm:' .. id, 'e', 'size', 'arr')
  local envelope = envelope_of(m[1])
  for _, address in ipairs(told) do
    local r = mine[address] and record(id, address)
    if r then r[TOLD] = 1 call('HSET', P .. 'r:' .. id, address, pack(r)) end
  end
  for _, done in ipairs(outcomes) do
    local r = mine[done[1]] and record(id, done[1])
    if r and r[TOKEN] == token then
      if done[2] ~= 'postponed' then
        call('RPUSH', P .. 'a:' .. id, pack({now, done[1], done[2], done[3], done[5], done[6], done[7], done[8]}))
      end
      if done[2] == 'deferred' or done[2] == 'postponed' or done[2] == 'quarantined' then
        unplace(id .. '/' .. done[1], r)
        wait(id, r, done, envelope[1])
      else
        leave(id, done[1], r, envelope)
        call('HSET', P .. 'h:' .. id, done[1], pack({envelope[1], envelope[6], envelope[7], tonumber(m[2]) or 0,
          tonumber(m[3]) or now, now, done[2], done[3], done[4], done[5], done[6], done[7], r[TRIES] + 1}))
        call('ZADD', P .. 'finished', now, id .. '/' .. done[1])
      end
    end
  end
  put_back(token)
  call('SET', P .. 'settled:' .. token, 1, 'EX', 3600)
  local file = emptied(id)
  if file ~= '' then files[#files + 1] = file end
end
for i = 2, #a do
  if call('EXISTS', P .. 'lease:' .. a[i][1]) == 1 then settle(a[i][1], a[i][2], a[i][3])
  elseif call('EXPIRE', P .. 'settled:' .. a[i][1], 3600) == 0 then lost[#lost + 1] = i - 2 end
end
heads()
return {lost, files}
"""

RELEASE = """
call('DEL', P .. 'nothing')
local count = 0
for _, token in ipairs(ARGV) do
  if put_back(token) then count = count + 1 end
end
heads()
return count
"""
