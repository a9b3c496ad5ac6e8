#!lua flags=no-writes
-- The missions of a namespace that are filed as due by now, the longest first.
-- KEYS: 1 due missions of the partition
-- ARGV: 1 the namespace and a space, 2 how many, 3 and 4 moment and member after which the page begins, or ''
-- Replies {moment, member, moment, member, ...}: the first two of the last one examined, or empty when all were.
-- @include clock
-- @include bytes

local EXAMINED = 1000 -- the partition is shared
local prefix, limit, now = ARGV[1], tonumber(ARGV[2]), tonumber(clock())
local after, last, first, gone = tonumber(ARGV[3]), ARGV[4], 0, false

if after then -- behind that member; it may be filed at another moment meanwhile
  gone = tonumber(redis.call('ZSCORE', KEYS[1], last) or -1) ~= after
  first = gone and redis.call('ZCOUNT', KEYS[1], 0, '(' .. ARGV[3]) or redis.call('ZRANK', KEYS[1], last) + 1
end
local reply = {'', ''}
local due = redis.call('ZRANGE', KEYS[1], first, first + EXAMINED - 1, 'WITHSCORES')
for i = 1, #due, 2 do
  local member, moment = due[i], due[i + 1]
  if tonumber(moment) > now then break end
  if member:sub(1, #prefix) == prefix and not (gone and tonumber(moment) == after and not before(last, member)) then
    reply[#reply + 1] = moment
    reply[#reply + 1] = member
  end
  if #reply == 2 * limit + 2 or i == 2 * EXAMINED - 1 then
    reply[1], reply[2] = moment, member
    break
  end
end
return reply
