#!lua
-- Looks at missions that were filed as due: which of their limits has passed. What is filed wrong is filed again.
-- KEYS: 1 due missions of the partition, 2.. missions
-- ARGV: 1 how many seconds a finished mission is kept, 0 for ever, 2 'records' to reply these, too, 3.. what each is
--       filed as
-- Replies for each {limit, status, record or ''}, with an empty limit for one that is not due and 'broken' for one that
-- cannot be read; until they are as large as Lambda takes well; one at least.
-- @include clock
-- @include facts
-- @include due

local BYTES = 2000000
local now, bytes, reply = tonumber(clock()), 0, {}
for i = 2, #KEYS do
  local record = redis.pcall('GET', KEYS[i])
  local facts = type(record) == 'string' and record:match('^([^\n]*)\n[^\n]*\n')
  local known = facts and by_name(facts)
  local moment, limit = nil, 'broken'
  if known and known.status then
    moment, limit = due(known, ARGV[1])
  elseif not record or known and known.removed then
    limit = nil
  end
  if not moment then
    redis.call('ZREM', KEYS[1], ARGV[i + 1])
    reply[i - 1] = {limit or '', '', ''}
  elseif moment > now then
    redis.call('ZADD', KEYS[1], ('%.0f'):format(moment), ARGV[i + 1])
    reply[i - 1] = {'', '', ''}
  elseif ARGV[2] == '' then
    reply[i - 1] = {limit, known.status, ''}
  else
    bytes = bytes + #record
    if bytes > BYTES and i > 2 then break end
    reply[i - 1] = {limit, known.status, record}
  end
end
return reply
