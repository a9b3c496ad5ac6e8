#!lua
-- Creates a mission: record, log, index, statistics, outbox and token together, or nothing.
-- KEYS: 1 to 4 see write.lua and enter.lua, 5 mission, 6 log, 7 namespaces of the partition; when the mission has to
--       wait for a moment, or has a deadline, 8 queue and 9 due missions of the partition
-- ARGV: 1 to 4 see write.lua, 5 mission id, 6 what the caller sent, 7 the facts in it that scripts read, 8 first log
--       entry, 9 drafts of two events, or '' for none
-- Replies {'created' or 'exists', replayed, id, facts and reason, outbox entry id or ''}; or {'conflict'}, {'broken'},
-- {'reused'}, {'past'} when its deadline is.
-- The id of a mission that was removed is free: the new one counts on where that one ended.

local QUEUE, DUE = KEYS[8], KEYS[9]
-- @include enter

local function new(moment, version, sequence) -- facts of a mission that is created at this moment
  return 'status=PENDING version=' .. version .. ' created=' .. moment .. ' updated=' .. moment .. ' active=' .. moment
    .. ' sequence=' .. sequence .. ' logged=1 ' .. ARGV[7]
end

local mission, log = KEYS[5], KEYS[6]
local leftover = false -- a log of a mission of this id that was lost
local version, first, sequence, last = '1', '1', '2', nil -- numbers would be made texts, which costs more
if redis.call('EXISTS', mission, log, KEYS[2]) > 0 then -- nearly always all three are new
  local answer, replayed, reused = recorded()
  if reused then return {'reused'} end
  if answer then
    local outcome, id, state = answer:match('^(%S+) (%S+) (.*)$')
    return {outcome, replayed, id, outcome == 'created' and new(state:match('(%d+) (%d+) (%d+)')) .. '\n' or state, ''}
  end
  local found = redis.call('GET', mission)
  if found then
    local state, content = found:match('^([^\n]*\n[^\n]*)\n(.*)$')
    local facts = state and state:match('^[^\n]*') -- without the reason, which may say anything
    last = facts and fact(facts, 'removed')
    if last then
      version, sequence = tonumber(fact(facts, 'version')), tonumber(fact(facts, 'sequence'))
      if not (version and sequence) then return {'broken'} end
      version, first, sequence = version + 1, sequence + 1, sequence + 2
    elseif content ~= ARGV[6] then
      return {'conflict'}
    else
      record('exists ' .. ARGV[5] .. ' ' .. state)
      return {'exists', 0, ARGV[5], state, ''}
    end
  end
  leftover = redis.call('LLEN', log) > 0
end

local now = clock(last)
local known = {named = ARGV[7]:match('named=(%S*)$')}
if #ARGV[7] > #known.named + 6 then -- seldom: more than the name
  for _, name in ipairs({'tags', 'deadline', 'not_before'}) do known[name] = fact(ARGV[7], name) end
end
if known.deadline and known.deadline <= now then return {'past'} end
redis.call('ZCARD', INDEX)
if known.deadline then redis.call('ZCARD', DUE) end
if known.not_before then redis.call('ZCARD', QUEUE) end
local hour = math.floor(now / 3600000000) .. ' created' -- see move.lua
local counts = redis.call('HMGET', STATS, 'PENDING', hour, 'last_updated')
local pending, in_it = tonumber(counts[1] or 0), tonumber(counts[2] or 0)
if not (pending and in_it) then return {'broken'} end
if not counts[1] then redis.call('SCARD', KEYS[7]) end

local facts = new(now, version, sequence)
local entry = ARGV[9] == '' and '' or publish(ARGV[5], ARGV[9], now, first, known.tags)
if leftover then redis.call('DEL', log) end
enter(mission, log, ARGV[5], facts, known, ARGV[6], ARGV[8], now)
redis.call('HSET', STATS, 'PENDING', pending + 1, hour, in_it + 1, 'last_updated', after(counts[3], now))
if not counts[1] then redis.call('SADD', KEYS[7], ARGV[4]) end
record('created ' .. ARGV[5] .. ' ' .. now .. ' ' .. version .. ' ' .. sequence)
return {'created', 0, ARGV[5], facts .. '\n', entry}
