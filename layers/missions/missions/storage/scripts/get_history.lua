#!lua flags=no-writes
-- The history, and the time of the store.
-- KEYS: 1 history
-- Replies {now, field, count, ...}.
-- @include clock

local reply = redis.call('HGETALL', KEYS[1])
table.insert(reply, 1, clock())
return reply
