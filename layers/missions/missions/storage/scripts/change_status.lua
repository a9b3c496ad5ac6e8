#!lua
-- Changes a mission's status, when its version and the status table allow it.
-- KEYS: 1 to 4 see write.lua, 5 statistics, 6 durations, 7 index of the new status,
--       8.. indexes of the statuses from which the new one may be reached
-- ARGV: 1 to 5 see write.lua, 6 new status, 7 versions to match, as ' 1 2 ', or '*' for any, 8 reason as JSON or '',
--       9 log entry, 10 drafts of two events, or '' for none, 11.. the statuses of KEYS 8..
-- Replies {'changed' or 'unchanged', replayed, facts and reason, what the caller sent, outbox entry id or '',
-- old status}; or {'missing'}, {'broken'}, {'reused'}, {'stale', version}, {'refused', status}.
-- @include write
-- @include facts

local answer, replayed, reused = recorded()
if reused then return {'reused'} end

local mission = redis.call('GET', KEYS[1])
if not mission then return {'missing'} end
local facts, reason, content = mission:match('^([^\n]*)\n([^\n]*)\n(.*)$')
if not facts then return {'broken'} end
if answer then
  local outcome, first = answer:match('^(%S+) (.*)$')
  return {outcome, replayed, first, content, '', ''}
end

local status, version, created = fact(facts, 'status'), count(facts, 'version'), fact(facts, 'created')
local updated, active = fact(facts, 'updated'), fact(facts, 'active')
local sequence, logged, ran = count(facts, 'sequence'), count(facts, 'logged'), count(facts, 'ran')
if not (status and version and created and tonumber(updated) and active and sequence and logged) then
  return {'broken'}
end
if ARGV[7] ~= '*' and not ARGV[7]:find(' ' .. version .. ' ', 1, true) then return {'stale', version} end
if status == ARGV[6] then
  record('unchanged ' .. facts .. '\n' .. reason)
  return {'unchanged', 0, facts .. '\n' .. reason, content, '', ''}
end
local source
for i = 11, #ARGV do
  if ARGV[i] == status then source = KEYS[i - 3] end
end
if not source then return {'refused', status} end

redis.call('LLEN', KEYS[2])
local counts = redis.call('HMGET', KEYS[5], status, ARGV[6])
local left, reached = tonumber(counts[1] or 0), tonumber(counts[2] or 0)
redis.call('ZCARD', KEYS[7])
redis.call('ZCARD', source)

local now = clock(active)
local changes = {
  status = ARGV[6], version = version + 1, updated = now, active = now, sequence = sequence + 2, logged = logged + 1,
}

-- How long finished missions ran, in milliseconds, counted in buckets: below 32 each number has its own, then each
-- power of two is cut in 16. A bucket is named by the least number in it. A mission that is cancelled after it finished
-- is taken out again.
local by = 0
if ARGV[6] == 'COMPLETED' or ARGV[6] == 'FAILED' then
  by, ran = 1, math.floor((now - updated) / 1000)
  changes.ran = ran
elseif ran then -- it had finished
  by = -1
end
local width = 1
while by ~= 0 and ran >= 32 * width do width = width * 2 end
local bucket = by ~= 0 and math.floor(ran / width) * width
local ends = redis.call('HMGET', KEYS[6], bucket or 'sum', 'sum')
if not (left and reached and tonumber(ends[1] or 0) and tonumber(ends[2] or 0)) then return {'broken'} end

local state = with_facts(facts, changes) .. '\n' .. ARGV[8]
local entry = ARGV[10] == '' and '' or publish(ARGV[10], now, sequence + 1, status)
redis.call('SET', KEYS[1], state .. '\n' .. content)
redis.call('RPUSH', KEYS[2], 'moment=' .. now .. ' from=' .. status .. ' to=' .. ARGV[6] .. ' ' .. ARGV[9])
redis.call('ZREM', source, created .. ARGV[5])
redis.call('ZADD', KEYS[7], 0, created .. ARGV[5])
redis.call('HSET', KEYS[5], status, left - 1, ARGV[6], reached + 1, 'last_updated', now)
if bucket then
  redis.call('HINCRBY', KEYS[6], bucket, by)
  redis.call('HINCRBY', KEYS[6], 'sum', by * ran + 0) -- + 0: no minus zero
end
record('changed ' .. state)
return {'changed', 0, state, content, entry, status}
