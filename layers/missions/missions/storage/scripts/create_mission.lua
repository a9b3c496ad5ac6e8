#!lua
-- Creates a mission: record, log, indexes, statistics, outbox and token together, or nothing.
-- KEYS: 1 to 9 see write.lua and move.lua, 10 mission, 11 log, 12 namespaces of the partition
-- ARGV: 1 to 5 see write.lua and move.lua, 6 mission id, 7 what the caller sent, 8 the facts in it that scripts read,
--       9 first log entry, 10 drafts of two events, or '' for none
-- Replies {'created' or 'exists', replayed, id, facts and reason, outbox entry id or ''}; or {'conflict'}, {'broken'},
-- {'reused'}, {'past'} when its deadline is.
-- The id of a mission that was removed is free: the new one counts on where that one ended.
-- @include move

local mission, log, namespaces = KEYS[10], KEYS[11], KEYS[12]
local leftover = false -- a log of a mission of this id that was lost
local version, sequence, last = 0, 0, nil
if redis.call('EXISTS', mission, log, KEYS[2]) > 0 then -- nearly always all three are new
  local answer, replayed, reused = recorded()
  if reused then return {'reused'} end
  if answer then
    local outcome, id, state = answer:match('^(%S+) (%S+) (.*)$')
    return {outcome, replayed, id, state, ''}
  end
  local found = redis.call('GET', mission)
  if found then
    local state, content = found:match('^([^\n]*\n[^\n]*)\n(.*)$')
    last = state and fact(state:match('^[^\n]*'), 'removed')
    if last then
      version, sequence = count(state, 'version'), count(state, 'sequence')
      if not (version and sequence) then return {'broken'} end
    elseif content ~= ARGV[7] then
      return {'conflict'}
    else
      record('exists ' .. ARGV[6] .. ' ' .. state)
      return {'exists', 0, ARGV[6], state, ''}
    end
  end
  leftover = redis.call('LLEN', log) > 0
end

local now = clock(last)
local deadline = fact(ARGV[8], 'deadline')
if deadline and deadline <= now then return {'past'} end
redis.call('ZCARD', INDEX)
redis.call('ZCARD', NAMES)
redis.call('ZCARD', QUEUE)
if fact(ARGV[8], 'tags') then redis.call('ZCARD', TAGS) end
if deadline then redis.call('ZCARD', DUE) end
redis.call('SCARD', namespaces)
local stats, first = tally(STATS, {PENDING = 1, ['ever created'] = 1})
local history, new = tally(HISTORY, in_history(now, 'created'))
if not (stats and history) then return {'broken'} end

local facts = 'status=PENDING version=' .. version + 1 .. ' created=' .. now .. ' updated=' .. now .. ' active=' .. now
  .. ' sequence=' .. sequence + 2 .. ' logged=1 ' .. ARGV[8]
local entry = ARGV[10] == '' and '' or publish(ARGV[6], ARGV[10], now, sequence + 1, fact(ARGV[8], 'tags'))
if leftover then redis.call('DEL', log) end
enter(mission, log, ARGV[6], facts, ARGV[7], ARGV[9])
redis.call('HSET', STATS, 'last_updated', now, 'changed', now, unpack(stats))
keep_history(now, history, new)
if first then redis.call('SADD', namespaces, ARGV[4]) end
record('created ' .. ARGV[6] .. ' ' .. facts .. '\n')
return {'created', 0, ARGV[6], facts .. '\n', entry}
