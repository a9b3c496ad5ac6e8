#!lua flags=allow-oom
-- Moves an entry from the outbox to the dead letters, once, even when two relays meet.
-- KEYS: 1 outbox, 2 dead letters
-- ARGV: 1 entry id, 2 facts, 3 error
-- Replies how many were moved.

redis.call('XLEN', KEYS[2])
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('XADD', KEYS[2], '*', 'facts', ARGV[2], 'error', ARGV[3])
return 1
