#!lua
-- Changes a mission's status, when its version and the status table allow it. A mission that becomes FAILED and has
-- retries left gets its next attempt here, so that there is always one and never two.
-- KEYS: 1 to 6 see write.lua, enter.lua and move.lua, 7 mission, 8 log, 9 durations, 10 and 11 mission and log of the
--       next attempt, when the new status is FAILED
-- ARGV: 1 to 5 see write.lua and move.lua, 6 mission id, 7 new status, 8 versions to match, as ' 1 2 ', or '*' for any,
--       9 reason as JSON or '', 10 log entry, 11 drafts of two events, or '' for none, 12 the statuses from which the
--       new one may be reached, as ' RUNNING ', 13 the limit that must have passed, or '' for none, 14 id of the next
--       attempt, 15 its first log entry, 16 its drafts
-- Replies {'changed' or 'unchanged', replayed, facts and reason, what the caller sent, outbox entry id or '',
-- old status, outbox entry id of the next attempt or ''}; or {'missing'}, {'broken'}, {'removed', moment}, {'reused'},
-- {'stale', version}, {'refused', status, reason}, {'kept'} when the limit has not passed.
-- @include transition

local answer, replayed, reused = recorded()
if reused then return {'reused'} end
local mission, what = mission_at(KEYS[7])
if not mission then return what end
if answer then
  local outcome, first = answer:match('^(%S+) (.*)$')
  -- The id may have another mission by now.
  if fact(first, 'created') ~= mission.known.created then return {'removed', mission.known.created} end
  return {outcome, replayed, first, mission.content, '', '', ''}
end

local known, to, now = mission.known, ARGV[7], clock(mission.known.active)
if ARGV[13] ~= '' then
  local moment, limit = due(known, ARGV[5])
  if limit ~= ARGV[13] or moment > tonumber(now) then return {'kept'} end
end
if ARGV[8] ~= '*' and not ARGV[8]:find(' ' .. mission.version .. ' ', 1, true) then return {'stale', mission.version} end
if known.status == to then
  record('unchanged ' .. mission.facts .. '\n' .. mission.reason)
  return {'unchanged', 0, mission.facts .. '\n' .. mission.reason, mission.content, '', '', ''}
end
if not ARGV[12]:find(' ' .. known.status .. ' ', 1, true) then return {'refused', known.status, mission.reason} end

local successor
local attempt, retries = counted(known.attempt) or 1, counted(known.retries) or 0
if to == 'FAILED' and attempt <= retries then
  local wait = math.min((counted(known.backoff) or 0) * 2 ^ (attempt - 1), 86400)
  local not_before = now + wait * 1000000
  if not (known.deadline and not_before >= tonumber(known.deadline)) then
    successor = {
      key = KEYS[10], log = KEYS[11], id = ARGV[14], entry = ARGV[15], drafts = ARGV[16],
      not_before = wait > 0 and not_before or nil,
    }
  end
end
local state, entry, next_entry = transition({
  mission = mission, key = KEYS[7], log = KEYS[8], id = ARGV[6], to = to, now = now, reason = ARGV[9],
  entry = ARGV[10], drafts = ARGV[11], durations = KEYS[9], successor = successor,
})
if not state then return {'broken'} end
record('changed ' .. state)
return {'changed', 0, state, mission.content, entry, known.status, next_entry}
