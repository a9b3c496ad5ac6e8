#!lua
-- Creates a mission: record, log, index, statistics, outbox and token together, or nothing.
-- KEYS: 1 to 4 see write.lua, 5 statistics, 6 index of PENDING, 7 namespaces of the partition
-- ARGV: 1 to 5 see write.lua, 6 what the caller sent, 7 first log entry, 8 drafts of two events, or '' for none
-- Replies {'created' or 'exists', replayed, id, facts and reason, outbox entry id or ''}; or {'conflict'}, {'broken'},
-- {'reused'}.
-- @include write

local function new(moment) -- facts and reason of a mission that was created at this moment
  return 'status=PENDING version=1 created=' .. moment .. ' updated=' .. moment .. ' active=' .. moment
    .. ' sequence=2 logged=1\n'
end

local leftover = false -- a log of a mission of this id that was lost
if redis.call('EXISTS', KEYS[1], KEYS[2], KEYS[4]) > 0 then -- nearly always all three are new
  local answer, replayed, reused = recorded()
  if reused then return {'reused'} end
  if answer then
    local outcome, id, state = answer:match('^(%S+) (%S+) (.*)$')
    return {outcome, replayed, id, outcome == 'created' and new(state) or state, ''}
  end
  local mission = redis.call('GET', KEYS[1])
  if mission then
    local state, content = mission:match('^([^\n]*\n[^\n]*)\n(.*)$')
    if content ~= ARGV[6] then return {'conflict'} end
    record('exists ' .. ARGV[5] .. ' ' .. state)
    return {'exists', 0, ARGV[5], state, ''}
  end
  leftover = redis.call('LLEN', KEYS[2]) > 0
end

redis.call('ZCARD', KEYS[6])
local pending = redis.call('HGET', KEYS[5], 'PENDING')
if not pending then redis.call('SCARD', KEYS[7]) end
if pending and not tonumber(pending) then return {'broken'} end

local now = clock()
local state = new(now)
local entry = ARGV[8] == '' and '' or publish(ARGV[8], now, 1)
redis.call('SET', KEYS[1], state .. '\n' .. ARGV[6])
if leftover then redis.call('DEL', KEYS[2]) end
redis.call('RPUSH', KEYS[2], 'moment=' .. now .. ' ' .. ARGV[7])
redis.call('ZADD', KEYS[6], 0, now .. ARGV[5])
redis.call('HSET', KEYS[5], 'PENDING', (pending or 0) + 1, 'last_updated', now)
if not pending then redis.call('SADD', KEYS[7], ARGV[4]) end
record('created ' .. ARGV[5] .. ' ' .. now)
return {'created', 0, ARGV[5], state, entry}
