#!lua
-- Appends entries to a mission's log, all at one moment.
-- KEYS: 1 mission, 2 log, 3 outbox, 4 token
-- ARGV: 1 fingerprint, 2 token life, 3 publish, 4.. for each entry: the entry, its facts of mission.log_appended
-- Replies {'appended', replayed, events, entry, ...}; or {'missing'}, {'reused'}.

local function reply(replayed, first, last)
  return {'appended', replayed, events, unpack(redis.call('LRANGE', KEYS[2], first, last))}
end

local answer, reused = recorded()
if reused then return {'reused'} end
if answer then
  return reply(1, answer:match('^(%d+) (%d+)$'))
end

local version = redis.call('GETRANGE', KEYS[1], 0, 32):match('^%u+ (%d+) ')
if not version then return {'missing'} end

local logged, last = log_end()
redis.call('XLEN', KEYS[3])

local now = micros(last)
local count = (#ARGV - 3) / 2
for i = 1, count do
  append(now, ARGV[2 + 2 * i])
  emit(logged + version + i, now, ARGV[3 + 2 * i])
end
record(logged .. ' ' .. logged + count - 1)
return reply(0, logged, -1)
