#!lua flags=no-writes
-- One page of a mission's log, from a position on. The first entry that a mission ever had is at position 0.
-- KEYS: 1 mission, 2 log
-- ARGV: 1 position: of the first entry, or with the newest first, behind it ('' for the end), 2 limit,
--       3 'oldest' or 'newest' first, 4.. levels to show, or none for all
-- A page ends before it is larger than Lambda can answer, but has one entry at least.
-- Replies {entries ever logged, how many of them are gone, position where the next page begins, entry, ...}; or
-- {'missing'}, {'broken'}, {'removed', moment}.
-- @include facts

local facts, what = head(KEYS[1])
if not facts then return what end
local logged = count(facts, 'logged')
if not logged then return {'broken'} end

local BYTES = 2000000 -- Lambda answers 6 MB, in which JSON within JSON may take more than twice its length
local EXAMINED = 1000 -- with a filter a call looks at no more than these, and a page may be short
local oldest = ARGV[3] == 'oldest'
local limit = tonumber(ARGV[2])
local step = #ARGV > 3 and math.max(limit, 200) or limit -- what a filter leaves out must not cost a read of its own
local gone = math.max(0, logged - redis.call('LLEN', KEYS[2]))
local position = math.min(tonumber(ARGV[1]) or logged, logged)
local levels = {}
for i = 4, #ARGV do levels[ARGV[i]] = true end
local all = next(levels) == nil

local page = {logged, gone, position}
local bytes, full = 0, false
if oldest then position = math.max(position, gone) end
local stop = oldest and math.min(logged, position + EXAMINED) or math.max(gone, position - EXAMINED)
while not full and (oldest and position < stop or not oldest and position > stop) do
  local first, last
  if oldest then
    first, last = position, math.min(stop, position + step) - 1
  else
    first, last = math.max(stop, position - step), position - 1
  end
  local entries = redis.call('LRANGE', KEYS[2], first - gone, last - gone)
  for i = 1, #entries do
    local entry = entries[oldest and i or #entries + 1 - i]
    if all or levels[entry:match(' level=(%a+)\n')] then
      bytes = bytes + #entry
      full = #page > 3 and bytes > BYTES
      if full then break end
      page[#page + 1] = entry
    end
    position = position + (oldest and 1 or -1)
    full = #page == limit + 3
    if full then break end
  end
end
page[3] = position
return page
