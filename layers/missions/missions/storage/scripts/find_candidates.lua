#!lua flags=no-writes
-- Missions that may be claimed now, those first that have waited longest: the candidates of claim_mission.lua.
-- KEYS: 1 queue, 2 write token, 3 index, 4 due missions of the partition
-- ARGV: 1 fingerprint of the request, 2 id of this attempt, 3 how many, 4 namespace, 5.. the tags that a mission must
--       have
-- Replies {'found', place, ...}; what this token's first run answered, {'claimed', replayed, id, facts and reason}; or
-- {'reused'}.
-- @include token

local answer, replayed, reused = recorded()
if reused then return {'reused'} end
if answer then
  local id, state = answer:match('^(%S+) (.*)$')
  return {'claimed', replayed, id, state}
end

local EXAMINED = 1000 -- of each kind of mission a call looks at no more
local QUEUE, INDEX, DUE = KEYS[1], KEYS[3], KEYS[4]
local now, limit = clock(), tonumber(ARGV[3])
local overdue = redis.call('ZCOUNT', DUE, 0, now) > 0 -- what waits past its deadline is for sweep_missions

local function range(letters, tag) -- of the index: what the members begin with, and behind what they end
  local prefix = (tag and 't' .. tag .. '\0' or '') .. letters
  return prefix, '(' .. prefix .. ':' -- ':' comes behind all digits
end

local function rarest(letters) -- of the tags: it, and how many missions have it
  local tag, fewest
  for i = 5, #ARGV do
    local prefix, stop = range(letters, ARGV[i])
    local some = redis.call('ZLEXCOUNT', INDEX, '[' .. prefix, stop)
    if not fewest or some < fewest then tag, fewest = ARGV[i], some end
  end
  return tag, fewest
end

local function fits(place, letters, known_tag)
  for i = 5, #ARGV do
    local tag = ARGV[i]
    if tag ~= known_tag and not redis.call('ZSCORE', INDEX, range(letters, tag) .. place) then return false end
  end
  local due = overdue and redis.call('ZSCORE', DUE, ARGV[4] .. ' ' .. place:sub(17))
  return not due or tonumber(due) > tonumber(now)
end

local found = {} -- {since when it may be claimed, place}
local function walk(read, consider) -- in steps, until there are enough
  local enough, first = #found + limit, 0
  repeat
    local members = read(first)
    for _, member in ipairs(members) do consider(member) end
    first = first + limit
  until #members < limit or #found >= enough or first >= EXAMINED
end

local function walk_index(letters, tag, consider)
  local prefix, stop = range(letters, tag)
  walk(function(first)
    return redis.call('ZRANGE', INDEX, '[' .. prefix, stop, 'BYLEX', 'LIMIT', first, limit)
  end, function(member) consider(member:sub(#prefix + 1)) end)
end

-- Those that could be claimed ever since they were created
local tag = rarest('PE')
walk_index('PE', tag, function(place)
  if fits(place, 'PE', tag) then found[#found + 1] = {place:sub(1, 16), place} end
end)

-- Those whose moment has come: by it, or by a tag that fewer have
local waiting = redis.call('ZCOUNT', QUEUE, 0, now)
if waiting > 0 then
  local function consider(place, known_tag)
    local moment = redis.call('ZSCORE', QUEUE, place)
    if moment and tonumber(moment) <= tonumber(now) and fits(place, 'WA', known_tag) then
      found[#found + 1] = {('%016.0f'):format(tonumber(moment)), place}
    end
  end
  local rare, few = rarest('WA')
  if few and few < waiting then
    walk_index('WA', rare, function(place) consider(place, rare) end)
  else
    walk(function(first) return redis.call('ZRANGE', QUEUE, 0, now, 'BYSCORE', 'LIMIT', first, limit) end, consider)
  end
  table.sort(found, function(a, b) return a[1] < b[1] end)
end

local reply = {'found'}
for i = 1, math.min(#found, limit) do reply[i + 1] = found[i][2] end
return reply
