#!lua
-- Makes the next attempt of a mission that is FAILED or CANCELLED, to be claimed at once.
-- KEYS: 1 to 9 see write.lua and move.lua, 10 mission, 11 and 12 mission and log of the next attempt
-- ARGV: 1 to 5 see write.lua and move.lua, 6 mission id, 7 id of the next attempt, 8 its first log entry, 9 its drafts
-- Replies {'retried', replayed, id, facts and reason, what the caller sent, outbox entry id or ''}; or {'missing'},
-- {'broken'}, {'removed', moment}, {'reused'}, {'refused', status}, {'already', id of the next attempt}.
-- @include move

local answer, replayed, reused = recorded()
if reused then return {'reused'} end
local mission, what = mission_at(KEYS[10])
if not mission then return what end
if answer then
  local id, state = answer:match('^(%S+) (.*)$')
  return {'retried', replayed, id, state, mission.content, ''}
end
local known = mission.known
if known.next then return {'already', known.next} end
if known.status ~= 'FAILED' and known.status ~= 'CANCELLED' then return {'refused', known.status} end

local now = clock(known.active)
if known.deadline and known.deadline <= now then known.deadline = nil end -- else it could only be cancelled
check_types(KEYS[12])
local stats = tally(STATS, {PENDING = 1, ['ever created'] = 1})
local history, new = tally(HISTORY, in_history(now, 'created'))
if not (stats and history) or redis.call('EXISTS', KEYS[11], KEYS[12]) > 0 then return {'broken'} end

local facts = next_attempt(known, ARGV[6], now, now)
local entry = ARGV[9] == '' and '' or publish(ARGV[7], ARGV[9], now, 1, known.tags, nil, mission.content)
change_facts(KEYS[10], mission.facts, {next = ARGV[7]})
enter(KEYS[11], KEYS[12], ARGV[7], facts, mission.content,
  'attempt=' .. by_name(facts).attempt .. ' retry_of=' .. ARGV[6] .. ' ' .. ARGV[8])
redis.call('HSET', STATS, 'last_updated', now, 'changed', now, unpack(stats))
keep_history(now, history, new)
record(ARGV[7] .. ' ' .. facts .. '\n')
return {'retried', 0, ARGV[7], facts .. '\n', mission.content, entry}
