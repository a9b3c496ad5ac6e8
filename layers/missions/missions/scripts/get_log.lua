#!lua flags=no-writes
-- One page of a mission's log, from a position on.
-- KEYS: 1 mission, 2 log
-- ARGV: 1 position: of the first entry, or with the newest first, behind it ('' for the end), 2 limit,
--       3 'oldest' or 'newest' first, 4.. levels to show, or none for all
-- A page ends before it exceeds what Lambda can answer, but has one entry at least.
-- Replies {length of the log, position where the next page begins, entry, ...}, or false when there is no such mission.

if redis.call('EXISTS', KEYS[1]) == 0 then return false end

local BYTES = 2000000 -- Lambda answers 6 MB, in which JSON within JSON may take more than twice its length
local EXAMINED = 1000 -- with a filter a call looks at no more than these, and a page may be short
local oldest = ARGV[3] == 'oldest'
local limit = tonumber(ARGV[2])
local length = redis.call('LLEN', KEYS[2])
local position = math.min(tonumber(ARGV[1]) or length, length)
local levels = {}
for i = 4, #ARGV do levels[ARGV[i]] = true end
local all = next(levels) == nil

local page = {length, position}
local bytes, full = 0, false
local stop = oldest and math.min(length, position + EXAMINED) or math.max(0, position - EXAMINED)
while position ~= stop and not full do
  local first, last
  if oldest then
    first, last = position, math.min(stop, position + limit) - 1
  else
    first, last = math.max(stop, position - limit), position - 1
  end
  local entries = redis.call('LRANGE', KEYS[2], first, last)
  for i = 1, #entries do
    local entry = entries[oldest and i or #entries + 1 - i]
    if all or levels[entry:match('^[^,]*,"level":"(%a+)"')] then
      bytes = bytes + #entry
      full = #page == limit + 2 or #page > 2 and bytes > BYTES
      if full then break end
      page[#page + 1] = entry
    end
    position = position + (oldest and 1 or -1)
  end
end
page[2] = position
return page
