#!lua flags=no-writes
-- One page of a mission's log, from a position on.
-- KEYS: 1 mission, 2 log
-- ARGV: 1 first position, 2 limit
-- Replies {length of the log, entry, ...}, or false when there is no such mission.

if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local page = redis.call('LRANGE', KEYS[2], ARGV[1], ARGV[1] + ARGV[2] - 1)
table.insert(page, 1, redis.call('LLEN', KEYS[2]))
return page
