#!lua flags=no-writes
-- The moment of the first outbox entry, without the entry, which may be large.
-- KEYS: 1 outbox
-- Replies microseconds; 0 when there is no entry.

local entry = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if not entry then return 0 end
for i = 1, #entry[2], 2 do
  local moment = entry[2][i] == 'facts' and entry[2][i + 1]:match(' moment=(%d+)')
  if moment and #moment <= 16 then return tonumber(moment) end
end
-- A broken entry tells none; its id is the time at which it was added, in milliseconds.
return tonumber(entry[1]:match('^%d+')) * 1000
