"""What a node asks Redis to do for greylisting, each in one step. `shared/greylist.py` tells what the keys are.

Values are lines of text, numbers as Redis prints them: 17 digits, so that a time comes back as it went in.
"""

from __future__ import annotations

WAITING_COLUMNS = 6
"""What a row that waits holds: number, first, last, attempts, letter, and what is shown of it."""

_COMMON = """
local root = ARGV[1]
local function text(number) return string.format('%.17g', number) end
local function row_of(id)
    local value = redis.call('GET', root .. 'w:' .. id)
    if not value then return nil end
    local number, first, last, attempts, letter, shown =
        string.match(value, '^([^\\n]*)\\n([^\\n]*)\\n([^\\n]*)\\n([^\\n]*)\\n([^\\n]*)\\n(.*)$')
    return {number, tonumber(first), tonumber(last), tonumber(attempts), letter, shown}
end
local function drop_waiting(ids)
    for _, id in ipairs(ids) do
        redis.call('DEL', root .. 'w:' .. id)
        redis.call('ZREM', root .. 'first', id)
        redis.call('ZREM', root .. 'last', id)
        redis.call('ZREM', root .. 'numbers', id)
    end
end
-- forget what is over and what is too much, a bounded piece of each at a time
local function tidy_waiting(before, most, step)
    drop_waiting(redis.call('ZRANGEBYSCORE', root .. 'last', '-inf', '(' .. text(before), 'LIMIT', 0, step))
    if redis.call('ZCARD', root .. 'first') > most then
        drop_waiting(redis.call('ZRANGE', root .. 'first', 0, step - 1))
    end
end
local function tidy(index, rows, before, most, step)
    local ids = redis.call('ZRANGEBYSCORE', root .. index, '-inf', '(' .. text(before), 'LIMIT', 0, step)
    if redis.call('ZCARD', root .. index) - #ids > most then
        ids = redis.call('ZRANGE', root .. index, 0, step - 1)
    end
    for _, id in ipairs(ids) do
        redis.call('ZREM', root .. index, id)
        if rows ~= '' then redis.call('DEL', root .. rows .. id) end
    end
end
"""

DECIDE = (
    _COMMON
    + """
local now, max_age, min_delay, ceiling = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local enough, network_passes = tonumber(ARGV[6]), tonumber(ARGV[7])
local waiting_seconds, touch_seconds, most = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local id, letter, whole, is_strict, origin, shown = ARGV[11], ARGV[12], ARGV[13], ARGV[14] == '1', ARGV[15], ARGV[16]
local since = now - max_age
local delay = math.min(min_delay, ceiling)

local function keep_origin(passes, at)
    redis.call('SET', root .. 'o:' .. origin, passes .. '\\n' .. text(at), 'EX', math.ceil(max_age))
    redis.call('ZADD', root .. 'origins', at, origin)
    redis.call('EXPIRE', root .. 'origins', math.ceil(max_age))
end
local passes, passed_at = 0, nil
local kept = redis.call('GET', root .. 'o:' .. origin)
if kept then
    local count, at = string.match(kept, '^([^\\n]*)\\n(.*)$')
    passes, passed_at = tonumber(count), tonumber(at)
end

local known_at = tonumber(redis.call('ZSCORE', root .. 'passed', id) or '')
if known_at and known_at >= since then
    if now - known_at >= touch_seconds then
        redis.call('ZADD', root .. 'passed', now, id)
        redis.call('EXPIRE', root .. 'passed', math.ceil(max_age))
        if passed_at then keep_origin(passes, now) end
    end
    return {'known'}
end
if network_passes > 0 and passed_at and passes >= network_passes and passed_at >= since then
    if now - passed_at >= touch_seconds then keep_origin(passes, now) end
    return {'network_known'}
end

local row = row_of(id)
local first, attempts, number = now, 1, nil
if row then
    number = row[1]
    if now - row[3] < waiting_seconds then first, attempts = math.min(row[2], now), row[4] + 1 end
end

-- one letter, wherever it comes from: whether it has waited or tried enough; is_both: both are asked for
local function count_letter(name, is_both)
    local first_at, counted_at, tries, gap = now, now, 1, 0
    local old = redis.call('GET', root .. 'l:' .. name)
    if old then
        local f, c, t, l = string.match(old, '^([^\\n]*)\\n([^\\n]*)\\n([^\\n]*)\\n(.*)$')
        if now - tonumber(l) < waiting_seconds then
            first_at, counted_at, tries = math.min(tonumber(f), now), math.min(tonumber(c), now), tonumber(t)
            gap = now - counted_at
            if gap >= delay then counted_at, tries = now, tries + 1 else gap = 0 end
        end
    end
    local value = text(first_at) .. '\\n' .. text(counted_at) .. '\\n' .. tries .. '\\n' .. text(now)
    redis.call('SET', root .. 'l:' .. name, value, 'EX', waiting_seconds)
    redis.call('ZADD', root .. 'letters', now, name)
    local age = now - first_at
    local is_late = age >= ceiling or (gap > 0 and age + 2 * gap >= ceiling)
    if is_both then return is_late and tries >= enough end
    return is_late or tries >= enough
end
local is_over = count_letter(letter, false)
if whole ~= '' and not is_over and count_letter(whole, is_strict) then
    is_over = true
    if is_strict then  -- one passes; who else borrows the domain begins anew
        redis.call('DEL', root .. 'l:' .. whole)
        redis.call('ZREM', root .. 'letters', whole)
    end
end

local answer
if now - first < delay and not is_over then
    number = number or text(redis.call('INCR', root .. 'number'))
    local value = table.concat({number, text(first), text(now), attempts, letter, shown}, '\\n')
    redis.call('SET', root .. 'w:' .. id, value, 'EX', waiting_seconds)
    redis.call('ZADD', root .. 'first', first, id)
    redis.call('ZADD', root .. 'last', now, id)
    redis.call('ZADD', root .. 'numbers', number, id)
    answer = {'waits', text(first + delay - now), attempts}
else
    drop_waiting({id})
    redis.call('ZADD', root .. 'passed', now, id)
    redis.call('EXPIRE', root .. 'passed', math.ceil(max_age))
    if passed_at and passed_at >= since then passes = passes + 1 else passes = 1 end
    keep_origin(passes, now)
    answer = {now - first >= delay and 'came_back' or 'ceiling', '0', attempts}
end
for _, index in ipairs({'first', 'last', 'numbers', 'letters'}) do
    redis.call('EXPIRE', root .. index, waiting_seconds)
end
local forgotten = now - waiting_seconds
tidy_waiting(forgotten, most / 4, 20)
tidy('letters', 'l:', forgotten, most / 2, 40)
tidy('passed', '', since, most, 20)
tidy('origins', 'o:', since, most / 4, 20)
return answer
"""
)

LIST = (
    _COMMON
    + """
-- ARGV: root, before which one is forgotten, from, to
tidy_waiting(tonumber(ARGV[2]), math.huge, 1000)
local found = {redis.call('ZCARD', root .. 'first')}
for _, id in ipairs(redis.call('ZRANGE', root .. 'first', ARGV[3], ARGV[4])) do
    local value = redis.call('GET', root .. 'w:' .. id)
    if value then found[#found + 1] = value end
end
return found
"""
)

LET_IN = (
    _COMMON
    + """
-- ARGV: root, number, now, seconds that letters are kept, seconds that a passed one is kept
local id = redis.call('ZRANGEBYSCORE', root .. 'numbers', ARGV[2], ARGV[2], 'LIMIT', 0, 1)[1]
if not id then return false end
local value, row = redis.call('GET', root .. 'w:' .. id), row_of(id)
drop_waiting({id})
if not value then return false end
redis.call('ZADD', root .. 'passed', ARGV[3], id)
redis.call('EXPIRE', root .. 'passed', ARGV[5])
local letter = root .. 'l:' .. row[5]
if redis.call('EXISTS', letter) == 1 then
    redis.call('SET', letter, '0\\n0\\n1\\n' .. ARGV[3], 'EX', ARGV[4])
end
return value
"""
)

PROVED = (
    _COMMON
    + """
-- ARGV: root, domain, time by SPF, time by DKIM, now, seconds that it is kept, most
local spf, dkim = tonumber(ARGV[3]), tonumber(ARGV[4])
local old = redis.call('GET', root .. 'd:' .. ARGV[2])
if old then
    local old_spf, old_dkim = string.match(old, '^([^\\n]*)\\n(.*)$')
    spf, dkim = math.max(spf, tonumber(old_spf)), math.max(dkim, tonumber(old_dkim))
end
redis.call('SET', root .. 'd:' .. ARGV[2], text(spf) .. '\\n' .. text(dkim), 'EX', ARGV[6])
redis.call('ZADD', root .. 'domains', ARGV[5], ARGV[2])
redis.call('EXPIRE', root .. 'domains', ARGV[6])
tidy('domains', 'd:', tonumber(ARGV[5]) - tonumber(ARGV[6]), tonumber(ARGV[7]), 20)
return 1
"""
)
