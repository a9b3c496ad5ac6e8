#!lua
-- Makes the next attempt of a mission that is FAILED or CANCELLED, to be claimed at once.
-- KEYS: 1 to 6 see write.lua, enter.lua and move.lua, 7 mission, 8 and 9 mission and log of the next attempt
-- ARGV: 1 to 5 see write.lua and move.lua, 6 mission id, 7 id of the next attempt, 8 its first log entry, 9 its drafts
-- Replies {'retried', replayed, id, facts and reason, what the caller sent, outbox entry id or ''}; or {'missing'},
-- {'broken'}, {'removed', moment}, {'reused'}, {'refused', status}, {'already', id of the next attempt}.
-- @include move

local answer, replayed, reused = recorded()
if reused then return {'reused'} end
local mission, what = mission_at(KEYS[7])
if not mission then return what end
if answer then
  local id, state = answer:match('^(%S+) (.*)$')
  if id ~= mission.known.next then return {'removed', mission.known.created} end -- its id has another mission now
  return {'retried', replayed, id, state, mission.content, ''}
end
local known = mission.known
if known.next then return {'already', known.next} end
if known.status ~= 'FAILED' and known.status ~= 'CANCELLED' then return {'refused', known.status} end

local now = clock(known.active)
if known.deadline and known.deadline <= now then known.deadline = nil end -- else it could only be cancelled
redis.call('ZCARD', INDEX)
if known.deadline then redis.call('ZCARD', DUE) end
local updated = redis.call('HGET', STATS, 'last_updated')
local stats = tally(STATS, {PENDING = 1, [in_hour(now, 'created')] = 1})
if not stats or redis.call('EXISTS', KEYS[8], KEYS[9]) > 0 then return {'broken'} end

local facts = next_attempt(known, ARGV[6], now)
local entry = ARGV[9] == '' and '' or publish(ARGV[7], ARGV[9], now, 1, known.tags, nil, mission.content)
change_facts(KEYS[7], mission.facts, {next = ARGV[7], active = now})
enter(KEYS[8], KEYS[9], ARGV[7], facts, by_name(facts), mission.content,
  'attempt=' .. fact(facts, 'attempt') .. ' retry_of=' .. ARGV[6] .. ' ' .. ARGV[8], now)
redis.call('HSET', STATS, 'last_updated', after(updated, now), unpack(stats))
record(ARGV[7] .. ' ' .. facts .. '\n')
return {'retried', 0, ARGV[7], facts .. '\n', mission.content, entry}
