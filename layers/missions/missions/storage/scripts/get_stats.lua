#!lua flags=no-writes
-- The statistics, as they are at one moment.
-- KEYS: 1 stats, 2 durations
-- Replies {stats, durations}, each as HGETALL does.

return {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])}
