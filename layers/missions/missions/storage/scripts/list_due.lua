#!lua flags=no-writes
-- The missions of a namespace that are filed as due by now, the longest first.
-- KEYS: 1 due missions of the partition
-- ARGV: 1 the namespace and a space, 2 how many, 3 and 4 moment and member after which the page begins, or ''
-- Replies {moment, member, moment, member, ...}: the first two of the last one examined, or empty when all were.
-- @include clock

local EXAMINED = 1000 -- the partition is shared
local prefix, limit = ARGV[1], tonumber(ARGV[2])
local reply = {'', ''}
local due = redis.call('ZRANGE', KEYS[1], ARGV[3] == '' and 0 or ARGV[3], clock(), 'BYSCORE', 'LIMIT', 0, EXAMINED, 'WITHSCORES')
for i = 1, #due, 2 do
  local member, moment = due[i], due[i + 1]
  if ARGV[3] == '' or tonumber(moment) > tonumber(ARGV[3]) or member > ARGV[4] then
    if member:sub(1, #prefix) == prefix then
      reply[#reply + 1] = moment
      reply[#reply + 1] = member
    end
  end
  if #reply == 2 * limit + 2 or i == 2 * EXAMINED - 1 then
    reply[1], reply[2] = moment, member
    break
  end
end
return reply
