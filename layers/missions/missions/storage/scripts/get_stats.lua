#!lua flags=no-writes
-- The statistics, as they are at one moment.
-- KEYS: 1 statistics, 2 durations
-- ARGV: the fields of the statistics
-- Replies {the value or false of each, durations as HGETALL does}.

return {redis.call('HMGET', KEYS[1], unpack(ARGV)), redis.call('HGETALL', KEYS[2])}
