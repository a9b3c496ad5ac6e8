-- What the scripts share that move a mission, or remove it. They all have what enter.lua says, and
-- KEYS: 5 queue, 6 due missions of the partition
-- ARGV: 5 how many seconds a finished mission is kept, 0 for ever

local QUEUE, DUE = KEYS[5], KEYS[6]
-- @include enter
-- @include facts
-- @include due

local HOURS = 721 -- that the history goes back, and one that is not over
local GIVEN = {'tags', 'timeout', 'heartbeat', 'deadline', 'retries', 'backoff', 'retention', 'named'}

-- What fields of a hash are after these changes, as HSET takes it; nil when one of them holds no number. Second result:
-- whether one of them is new.
local function tally(hash, changes)
  local fields, after, new = {}, {}, false
  for field in pairs(changes) do fields[#fields + 1] = field end
  local found = redis.call('HMGET', hash, unpack(fields))
  for i, field in ipairs(fields) do
    local had = tonumber(found[i] or 0)
    if not had then return nil end
    new = new or not found[i]
    after[#after + 1] = field
    after[#after + 1] = had + changes[field] + 0 -- + 0: no minus zero
  end
  return after, new
end

-- A mission as a script needs it to move it. Without one nil and what to reply.
local function mission_at(key)
  local record = redis.pcall('GET', key)
  if not record then return nil, {'missing'} end
  if type(record) == 'table' then return nil, record end -- the error: its type is a wrong one
  local facts, reason, content = record:match('^([^\n]*)\n([^\n]*)\n(.*)$')
  if not facts then return nil, {'broken'} end
  local known = by_name(facts)
  if known.removed then return nil, {'removed', known.removed} end
  local version, sequence, logged = counted(known.version), counted(known.sequence), counted(known.logged)
  if not (known.status and version and known.created and tonumber(known.updated) and known.active and sequence
    and logged) then return nil, {'broken'} end
  return {
    facts = facts, reason = reason, content = content, known = known, version = version, sequence = sequence,
    logged = logged,
  }
end

-- Takes a mission with this status out of the index, and puts it in there with another, or with none.
local function index(known, id, from, to)
  local place = known.created .. id
  local leaves = (from == 'PENDING' and known.not_before and 'WA' or from:sub(1, 2)) .. place
  local enters = to and to:sub(1, 2) .. place
  redis.call('ZREM', INDEX, leaves)
  if enters then redis.call('ZADD', INDEX, 0, enters) end
  if known.tags then
    for tag in known.tags:gmatch('[^,]+') do
      redis.call('ZREM', INDEX, 't' .. tag .. '\0' .. leaves)
      if enters then redis.call('ZADD', INDEX, 0, 't' .. tag .. '\0' .. enters) end
    end
  end
  if from == 'PENDING' and known.not_before then redis.call('ZREM', QUEUE, place) end
end

local function file(id, before, after) -- among the missions that are due, when it was due then and is due now
  if after and after ~= before then
    redis.call('ZADD', DUE, ('%.0f'):format(after), ARGV[4] .. ' ' .. id)
  elseif before and not after then
    redis.call('ZREM', DUE, ARGV[4] .. ' ' .. id)
  end
end

-- The facts of the attempt that follows this mission, `id`.
local function next_attempt(known, id, now, not_before)
  local facts = 'status=PENDING version=1 created=' .. now .. ' updated=' .. now .. ' active=' .. now
    .. ' sequence=2 logged=1 attempt=' .. (counted(known.attempt) or 1) + 1 .. ' retry_of=' .. id
  if not_before then facts = facts .. ' not_before=' .. ('%016.0f'):format(not_before) end
  for _, name in ipairs(GIVEN) do
    if known[name] then facts = facts .. ' ' .. name .. '=' .. known[name] end
  end
  return facts
end

local function ran_for(known, finished) -- in whole milliseconds
  return math.max(0, math.floor((finished - (tonumber(known.started) or finished)) / 1000))
end

local function bucket_of(ran) -- see durations.py: below 32 each number of milliseconds has its own, then 16 to a power
  local width = 1
  while ran >= 32 * width do width = width * 2 end
  return math.floor(ran / width) * width
end

-- The history is in the statistics: how many missions were `created`, COMPLETED, FAILED and CANCELLED in each hour.
local function in_hour(now, what)
  return math.floor(now / 3600000000) .. ' ' .. what
end

-- What is too old is forgotten when a mission ends: only where missions end, they do not grow for ever either.
local function forget_history(now)
  if redis.call('HLEN', STATS) <= 4 * HOURS + 20 then return end
  local old = {}
  for _, field in ipairs(redis.call('HKEYS', STATS)) do
    local hour = tonumber(field:match('^(%d+) '))
    if hour and hour < now / 3600000000 - HOURS then old[#old + 1] = field end
  end
  for first = 1, #old, 1000 do redis.call('HDEL', STATS, unpack(old, first, math.min(first + 999, #old))) end
end
