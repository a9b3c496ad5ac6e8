#!lua
-- Changes a mission's status, when its version and the status table allow it.
-- KEYS: 1 mission, 2 log, 3 outbox, 4 token, 5 stats, 6 durations, 7 index of the new status,
--       8.. indexes of the statuses it may be reached from
-- ARGV: 1 fingerprint, 2 token life, 3 publish, 4 mission id, 5 new status, 6 version to match or '',
--       7 reason as JSON or '', 8 log entry, open inside its data, 9 facts of mission.log_appended,
--       10 facts of mission.status_changed, 11.. the statuses of KEYS 8..
-- Replies {'changed' or 'unchanged', replayed, events, state, content}; or {'missing'}, {'reused'}, {'stale', version},
-- {'refused', status, new status}.

local answer, reused = recorded()
if reused then return {'reused'} end

local mission = redis.call('GET', KEYS[1])
if not mission then return {'missing'} end
local state, content = mission:match('^([^\n]*\n[^\n]*)\n(.*)$')
if answer then
  local outcome, first = answer:match('^(%S+) (.*)$')
  return {outcome, 1, {}, first, content}
end

local status, version, created, updated, duration = state:match('^(%u+) (%d+) (%d+) (%d+) (%d+)\n')
if ARGV[6] ~= '' and ARGV[6] ~= version then return {'stale', version} end
if status == ARGV[5] then
  record('unchanged ' .. state)
  return {'unchanged', 0, {}, state, content}
end
local source
for i = 11, #ARGV do
  if ARGV[i] == status then source = KEYS[i - 3] end
end
if not source then return {'refused', status, ARGV[5]} end

local logged, last = log_end()
redis.call('XLEN', KEYS[3])
local counts = redis.call('HMGET', KEYS[5], status, ARGV[5])
local left, reached = counts[1] - 1, (counts[2] or 0) + 1
redis.call('HLEN', KEYS[6])
redis.call('ZCARD', KEYS[7])
redis.call('ZCARD', source)

-- How long finished missions ran, in milliseconds, counted in buckets: below 32 each number has its own, then each
-- power of two is cut in 16. A bucket is named by the least number in it. A mission cancelled after it finished is
-- taken out again.
local function count(milliseconds, by)
  local width = 1
  while milliseconds >= 32 * width do width = width * 2 end
  redis.call('HINCRBY', KEYS[6], math.floor(milliseconds / width) * width, by)
  redis.call('HINCRBY', KEYS[6], 'sum', by * milliseconds + 0) -- + 0: no minus zero
end

local now = micros(last)
local ran = 0
if ARGV[5] == 'COMPLETED' or ARGV[5] == 'FAILED' then
  ran = math.floor((now - updated) / 1000)
  count(ran, 1)
elseif status == 'COMPLETED' or status == 'FAILED' then
  count(tonumber(duration), -1)
end
state = table.concat({ARGV[5], version + 1, created, now, ran}, ' ') .. '\n' .. ARGV[7]
redis.call('SET', KEYS[1], state .. '\n' .. content)
redis.call('ZREM', source, created .. ARGV[4])
redis.call('ZADD', KEYS[7], 0, created .. ARGV[4])
redis.call('HSET', KEYS[5], status, left, ARGV[5], reached, 'last_updated', now)
append(now, ARGV[8] .. '"from":"' .. status .. '","to":"' .. ARGV[5] .. '"}}')
emit(logged + version + 1, now, ARGV[9])
emit(logged + version + 2, now, ARGV[10], '"old_status":"' .. status .. '",')
record('changed ' .. state)
return {'changed', 0, events, state, content}
