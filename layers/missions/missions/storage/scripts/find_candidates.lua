#!lua flags=no-writes
-- Missions that may be claimed now, those first that have waited longest: the candidates of claim_mission.lua.
-- KEYS: 1 queue, 2 write token, 3 tags
-- ARGV: 1 fingerprint of the request, 2 id of this attempt, 3 how many, 4.. the tags that a mission must have
-- Replies {'found', place, ...}, with what this token's first run answered {'claimed', replayed, id, facts and reason},
-- or {'reused'}.
-- @include write

local answer, replayed, reused = recorded()
if reused then return {'reused'} end
if answer then
  local id, state = answer:match('^(%S+) (.*)$')
  return {'claimed', replayed, id, state}
end

local EXAMINED = 1000 -- with tags a call looks at no more than these
local now, limit = clock(), tonumber(ARGV[3])
local reply = {'found'}
if #ARGV == 3 then
  for _, place in ipairs(redis.call('ZRANGE', KEYS[1], 0, now, 'BYSCORE', 'LIMIT', 0, limit)) do
    reply[#reply + 1] = place
  end
  return reply
end
local pending = ARGV[4] .. '\0PE'
for _, member in ipairs(redis.call('ZRANGE', KEYS[3], '[' .. pending, '(' .. pending .. ':', 'BYLEX', 'LIMIT', 0, EXAMINED)) do
  local place = member:sub(#pending + 1)
  local from = redis.call('ZSCORE', KEYS[1], place)
  local fits = from and tonumber(from) <= tonumber(now)
  for i = 5, #ARGV do
    fits = fits and redis.call('ZSCORE', KEYS[3], ARGV[i] .. '\0PE' .. place)
  end
  if fits then reply[#reply + 1] = place end
  if #reply > limit then break end
end
return reply
