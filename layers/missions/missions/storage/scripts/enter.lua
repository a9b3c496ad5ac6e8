-- What the scripts share that make a mission. They all have what write.lua says, and
-- KEYS: 4 index
-- Before this they name two more keys, QUEUE and DUE.
--
-- What the index has of a mission: two letters of its status and its place, which is the moment of its creation and its
-- id; n, its name, NUL and its place; and for each tag t, the tag, NUL, the letters and the place. The letters of one
-- that is PENDING are PE, and WA when it has to wait for a moment, by which the queue has its place.
-- @include write
-- @include fact

local STATS, INDEX = KEYS[3], KEYS[4]

-- A new mission that is PENDING, found everywhere; `known` are those of its facts that say where. Its key and that of
-- its log hold nothing that is needed. (A function costs each run of a script a microsecond, so there are few here.)
local function enter(mission, log, id, facts, known, content, entry, now)
  local place = now .. id
  local status = (known.not_before and 'WA' or 'PE') .. place
  redis.call('SET', mission, facts .. '\n\n' .. content)
  redis.call('RPUSH', log, 'moment=' .. now .. ' ' .. entry)
  redis.call('ZADD', INDEX, 0, status, 0, 'n' .. (known.named or '') .. '\0' .. place)
  if known.tags then
    for tag in known.tags:gmatch('[^,]+') do redis.call('ZADD', INDEX, 0, 't' .. tag .. '\0' .. status) end
  end
  if known.not_before then redis.call('ZADD', QUEUE, known.not_before, place) end
  if known.deadline then redis.call('ZADD', DUE, known.deadline, ARGV[4] .. ' ' .. id) end
end
