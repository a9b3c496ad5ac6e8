#!lua flags=no-writes
-- The statistics with the history in them, and the time of the store.
-- KEYS: 1 statistics
-- Replies {now, field, count, ...}.
-- @include clock

local reply = redis.call('HGETALL', KEYS[1])
table.insert(reply, 1, clock())
return reply
