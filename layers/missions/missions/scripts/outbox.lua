#!lua flags=no-writes
-- The oldest outbox entries, but for those that their own request is still publishing.
-- KEYS: 1 outbox, 2 dead letters
-- ARGV: 1 entry id to begin after, 2 limit, 3 age in milliseconds from which an entry is taken
-- Replies {entries waiting, age of the oldest in milliseconds, dead letters, {entry id, facts}, ...}.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function age(id) return now - id:match('^%d+') end

local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local reply = {redis.call('XLEN', KEYS[1]), oldest and math.max(0, age(oldest[1])) or 0, redis.call('XLEN', KEYS[2])}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])) do
  -- An entry from the future was written before the clock was set back: how old it is cannot be told, so it is taken.
  local old = age(entry[1])
  if old >= 0 and old < tonumber(ARGV[3]) then break end
  reply[#reply + 1] = {entry[1], entry[2][2]}
end
return reply
