#!lua flags=no-writes
-- One page of missions, by creation time and then id. Each status has its index; a page merges those asked for.
-- KEYS: the indexes
-- ARGV: 1 prefix of the missions' keys, 2 limit, 3 'newest' or 'oldest' first, 4 and 5 what members lie between
-- A page ends before it exceeds what Lambda can answer, but has one mission at least.
-- Replies {cursor or false, id, mission, id, mission, ...}; the cursor is the last member shown, when more follow.

local limit = tonumber(ARGV[2])
local newest = ARGV[3] == 'newest'
local members = {}
for _, index in ipairs(KEYS) do
  local found
  if newest then
    found = redis.call('ZRANGE', index, '(' .. ARGV[5], '(' .. ARGV[4], 'BYLEX', 'REV', 'LIMIT', 0, limit + 1)
  else
    found = redis.call('ZRANGE', index, '(' .. ARGV[4], '(' .. ARGV[5], 'BYLEX', 'LIMIT', 0, limit + 1)
  end
  for _, member in ipairs(found) do members[#members + 1] = member end
end
table.sort(members, function(a, b) if newest then return a > b end return a < b end)

local BYTES = 2000000 -- Lambda answers 6 MB, in which JSON within JSON may take more than twice its length
local page = {false}
local shown, bytes = 0, 0
for i = 1, math.min(limit, #members) do
  local id = members[i]:sub(17)
  local mission = redis.call('GET', ARGV[1] .. id)
  bytes = bytes + #mission
  if i > 1 and bytes > BYTES then break end
  page[#page + 1] = id
  page[#page + 1] = mission
  shown = i
end
if shown < #members then page[1] = members[shown] end
return page
