#!lua
-- Removes a mission that is finished: its log, and wherever it is found or counted. What is left for some days is a
-- tombstone, of three facts, from which a new mission of that id counts on. The outbox is not touched.
-- KEYS: 1 to 6 see write.lua, enter.lua and move.lua, 7 mission, 8 log, 9 durations
-- ARGV: 1 to 3 not used, 4 and 5 see write.lua and move.lua, 6 mission id, 7 'retention' when its retention must have
--       passed, or '', 8 its last moment, which must not have changed, or '' for any, 9 life of the tombstone in seconds
-- Replies {'done', moment}; or {'removed', moment} for one that was removed before, {'missing'}, {'broken'},
-- {'open', status}, {'kept'} when it is not to be removed any more.
-- @include move

local mission, what = mission_at(KEYS[7])
if not mission then return what end
local known = mission.known
local now = clock(known.active)
local moment, limit = due(known, ARGV[5])
if ARGV[7] ~= '' and (limit ~= ARGV[7] or moment > tonumber(now)) then return {'kept'} end
if ARGV[8] ~= '' and known.active ~= ARGV[8] then return {'kept'} end
if known.status == 'PENDING' or known.status == 'RUNNING' then return {'open', known.status} end

redis.call('LLEN', KEYS[8])
redis.call('ZCARD', INDEX)
redis.call('ZCARD', DUE)
local changed = redis.call('HGET', STATS, 'changed')
local stats = tally(STATS, {[known.status] = -1, removed = 1})
local ran = known.status ~= 'CANCELLED' and ran_for(known, known.updated)
local durations = ran and tally(KEYS[9], {[bucket_of(ran)] = -1, sum = -ran})
if not stats or durations == nil then return {'broken'} end

redis.call('SET', KEYS[7], 'removed=' .. now .. ' version=' .. mission.version .. ' sequence=' .. mission.sequence
  .. '\n\n', 'EX', ARGV[9])
redis.call('UNLINK', KEYS[8])
index(known, ARGV[6], known.status, nil)
redis.call('ZREM', INDEX, 'n' .. (known.named or '') .. '\0' .. known.created .. ARGV[6])
file(ARGV[6], moment, nil)
if durations then redis.call('HSET', KEYS[9], unpack(durations)) end
redis.call('HSET', STATS, 'changed', after(changed, now), unpack(stats))
return {'done', now}
