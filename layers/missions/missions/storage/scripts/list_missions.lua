#!lua flags=no-writes
-- Which missions a page shows, by creation time and then id. Each status has its index; a page merges those asked for,
-- in one step: a mission that changes its status at that moment is in one of them, and in one only.
-- KEYS: the indexes
-- ARGV: 1 how many, 2 'newest' or 'oldest' first, 3 and 4 what the members lie between
-- Replies the members: the moment of the creation (16 digits) and the id.

local limit = tonumber(ARGV[1])
local newest = ARGV[2] == 'newest'
local members = {}
for _, index in ipairs(KEYS) do
  local found
  if newest then
    found = redis.call('ZRANGE', index, '(' .. ARGV[4], '(' .. ARGV[3], 'BYLEX', 'REV', 'LIMIT', 0, limit)
  else
    found = redis.call('ZRANGE', index, '(' .. ARGV[3], '(' .. ARGV[4], 'BYLEX', 'LIMIT', 0, limit)
  end
  for _, member in ipairs(found) do members[#members + 1] = member end
end
if #KEYS > 1 then
  table.sort(members, function(a, b) if newest then return a > b end return a < b end)
end
for i = #members, limit + 1, -1 do members[i] = nil end
return members
