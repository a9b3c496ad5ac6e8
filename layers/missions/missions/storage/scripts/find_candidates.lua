#!lua flags=no-writes
-- Missions that may be claimed now, those first that have waited longest: the candidates of claim_mission.lua.
-- KEYS: 1 queue, 2 write token, 3 index, 4 due missions of the partition
-- ARGV: 1 fingerprint of the request, 2 id of this attempt, 3 how many, 4 namespace, 5.. the tags that a mission must
--       have
-- Replies {'found', place, ...}; what this token's first run answered, {'claimed', replayed, id, facts and reason}; or
-- {'reused'}.
-- @include write

local answer, replayed, reused = recorded()
if reused then return {'reused'} end
if answer then
  local id, state = answer:match('^(%S+) (.*)$')
  return {'claimed', replayed, id, state}
end

local EXAMINED = 1000 -- where something has to be looked up, a call looks at no more than these, twice
local QUEUE, INDEX, DUE = KEYS[1], KEYS[3], KEYS[4]
local now, limit = clock(), tonumber(ARGV[3])
local overdue = redis.call('ZCOUNT', DUE, 0, now) > 0 -- what waits past its deadline is for sweep_missions
local count = (overdue or #ARGV > 4) and EXAMINED or limit

local function range(tag, letters) -- of the index: what the members begin with, and behind what they end
  local prefix = (tag and 't' .. tag .. '\0' or '') .. letters
  return prefix, '(' .. prefix .. ':' -- ':' comes behind all digits
end

local found = {} -- {since when it may be claimed, place}
local function consider(moment, place, letters)
  for i = 5, #ARGV do
    if not redis.call('ZSCORE', INDEX, range(ARGV[i], letters) .. place) then return end
  end
  local due = overdue and redis.call('ZSCORE', DUE, ARGV[4] .. ' ' .. place:sub(17))
  if not due or tonumber(due) > tonumber(now) then found[#found + 1] = {moment, place} end
end

-- Those whose moment has come
local waited = redis.call('ZRANGE', QUEUE, 0, now, 'BYSCORE', 'LIMIT', 0, count, 'WITHSCORES')
for i = 1, #waited, 2 do consider(('%016.0f'):format(tonumber(waited[i + 1])), waited[i], 'WA') end

-- Those that could be claimed ever since they were created: with tags, those that have the rarest
local rarest, fewest
for i = 5, #ARGV do
  local prefix, stop = range(ARGV[i], 'PE')
  local some = redis.call('ZLEXCOUNT', INDEX, '[' .. prefix, stop)
  if not fewest or some < fewest then rarest, fewest = ARGV[i], some end
end
local prefix, stop = range(rarest, 'PE')
for _, member in ipairs(redis.call('ZRANGE', INDEX, '[' .. prefix, stop, 'BYLEX', 'LIMIT', 0, count)) do
  local place = member:sub(#prefix + 1)
  consider(place:sub(1, 16), place, 'PE')
end

if #waited > 0 then table.sort(found, function(a, b) return a[1] < b[1] end) end
local reply = {'found'}
for i = 1, math.min(#found, limit) do reply[i + 1] = found[i][2] end
return reply
