-- What the scripts share that create, move or remove a mission. They all have what write.lua says, and
-- KEYS: 4 history, 5 index, 6 tags, 7 names, 8 queue, 9 due missions of the partition
-- ARGV: 5 how many seconds a finished mission is kept, 0 for ever
-- @include write
-- @include facts
-- @include due

local STATS, HISTORY, INDEX, TAGS, NAMES, QUEUE, DUE = unpack(KEYS, 3, 9)
local HOURS = 720 -- that the history goes back
local GIVEN = {'named', 'tags', 'timeout', 'heartbeat', 'deadline', 'retries', 'backoff', 'retention'}

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

-- The changes of history when missions are `created`, COMPLETED, FAILED or CANCELLED: one of each.
local function in_history(now, ...)
  local changes = {}
  for _, what in ipairs({...}) do changes[math.floor(now / 3600000000) .. ' ' .. what] = 1 end
  return changes
end

local function keep_history(now, after, new)
  redis.call('HSET', HISTORY, unpack(after))
  if not new or redis.call('HLEN', HISTORY) <= 4 * (HOURS + 1) then return end
  local old = {}
  for _, field in ipairs(redis.call('HKEYS', HISTORY)) do
    if tonumber(field:match('^%d+')) < now / 3600000000 - HOURS - 1 then old[#old + 1] = field end
  end
  if #old > 0 then redis.call('HDEL', HISTORY, unpack(old)) end
end

local function each_tag(tags, act)
  for tag in (tags or ''):gmatch('[^,]+') do act(tag) end
end

-- Takes a mission that has a status out of what is ordered by status, and puts it in there with another. nil for none.
local function index(known, id, from, to)
  local place = known.created .. id
  if from then redis.call('ZREM', INDEX, from:sub(1, 2) .. place) end
  if to then redis.call('ZADD', INDEX, 0, to:sub(1, 2) .. place) end
  each_tag(known.tags, function(tag)
    if from then redis.call('ZREM', TAGS, tag .. '\0' .. from:sub(1, 2) .. place) end
    if to then redis.call('ZADD', TAGS, 0, tag .. '\0' .. to:sub(1, 2) .. place) end
  end)
  if from == 'PENDING' then redis.call('ZREM', QUEUE, place) end
  if to == 'PENDING' then redis.call('ZADD', QUEUE, known.not_before or known.created, place) end
end

local function file(id, before, after) -- among the missions that are due, when it was due then and is due now
  if after and after ~= before then
    redis.call('ZADD', DUE, ('%.0f'):format(after), ARGV[4] .. ' ' .. id)
  elseif before and not after then
    redis.call('ZREM', DUE, ARGV[4] .. ' ' .. id)
  end
end

-- A new mission, found everywhere. Its key and that of its log hold nothing of worth.
local function enter(mission, log, id, facts, content, entry)
  local known = by_name(facts)
  redis.call('SET', mission, facts .. '\n\n' .. content)
  redis.call('RPUSH', log, 'moment=' .. known.created .. ' ' .. entry)
  index(known, id, nil, 'PENDING')
  redis.call('ZADD', NAMES, 0, (known.named or '') .. '\0' .. known.created .. id)
  file(id, nil, (due(known, ARGV[5])))
end

-- The facts of the attempt that follows this mission, `id`.
local function next_attempt(known, id, now, not_before)
  local facts = 'status=PENDING version=1 created=' .. now .. ' updated=' .. now .. ' active=' .. now
    .. ' sequence=2 logged=1 attempt=' .. (counted(known.attempt) or 1) + 1 .. ' retry_of=' .. id
    .. ' not_before=' .. ('%016.0f'):format(not_before)
  for _, name in ipairs(GIVEN) do
    if known[name] then facts = facts .. ' ' .. name .. '=' .. known[name] end
  end
  return facts
end

local function bucket_of(ran) -- see durations.py: below 32 each number of milliseconds has its own, then 16 to a power
  local width = 1
  while ran >= 32 * width do width = width * 2 end
  return math.floor(ran / width) * width
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

-- Every key that is written when a mission moves is read here, so that one of a wrong type fails before.
local function check_types(log)
  redis.call('LLEN', log)
  redis.call('ZCARD', INDEX)
  redis.call('ZCARD', TAGS)
  redis.call('ZCARD', NAMES)
  redis.call('ZCARD', QUEUE)
  redis.call('ZCARD', DUE)
end
