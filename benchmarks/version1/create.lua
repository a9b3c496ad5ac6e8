#!lua
-- Creates a mission: mission, log, index, statistics, outbox and token together, or nothing.
-- KEYS: 1 mission, 2 log, 3 outbox, 4 token, 5 stats, 6 index of PENDING
-- ARGV: 1 fingerprint, 2 token life, 3 publish, 4 mission id, 5 content, 6 log entry,
--       7 facts of mission.log_appended, 8 facts of mission.created
-- Replies {'created' or 'exists', replayed, events, id, state}; or {'conflict'}, {'reused'}.

local answer, reused = recorded()
if reused then return {'reused'} end
if answer then
  local outcome, id, state = answer:match('^(%S+) (%S+) (.*)$')
  return {outcome, 1, {}, id, state}
end

redis.call('LLEN', KEYS[2])
redis.call('XLEN', KEYS[3])
redis.call('ZCARD', KEYS[6])
local pending = (redis.call('HGET', KEYS[5], 'PENDING') or 0) + 1

local now = micros()
local state = 'PENDING 1 ' .. now .. ' ' .. now .. ' 0\n'
local mission = redis.call('SET', KEYS[1], state .. '\n' .. ARGV[5], 'NX', 'GET')
if mission then
  local state, content = mission:match('^([^\n]*\n[^\n]*)\n(.*)$')
  if content ~= ARGV[5] then return {'conflict'} end
  record('exists ' .. ARGV[4] .. ' ' .. state)
  return {'exists', 0, {}, ARGV[4], state}
end
redis.call('ZADD', KEYS[6], 0, now .. ARGV[4])
redis.call('HSET', KEYS[5], 'PENDING', pending, 'last_updated', now)
append(now, ARGV[6])
emit(1, now, ARGV[7])
emit(2, now, ARGV[8])
record('created ' .. ARGV[4] .. ' ' .. state)
return {'created', 0, events, ARGV[4], state}
