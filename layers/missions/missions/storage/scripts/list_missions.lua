#!lua flags=no-writes
-- Which missions a page shows, in one step: a mission that changes its status at that moment is shown once, or not.
-- Without a name they come by creation time and then id: ranges of the index, or of a tag, are merged, one for each
-- status. With one they come by name. What is asked for besides is looked up for each mission.
-- KEYS: 1 statistics, 2 index, 3 tags, 4 names
-- ARGV: 1 how many, 2 'newest' or 'oldest' first, 3 and 4 what the places lie between, 5 the name's beginning or '',
--       6 the member of names after which the page begins, or '', 7 the statuses, two letters each, 8.. the tags
-- Replies {moment of the namespace's last change or '', last mission examined, or '' when all were, mission, ...}; each
-- is a place, and with a name a member of names.

local EXAMINED = 1000 -- of what has to be looked up a call examines no more, and a page may be short
local limit, newest, low, high, name = tonumber(ARGV[1]), ARGV[2] == 'newest', ARGV[3], ARGV[4], ARGV[5]
local statuses, tags = {}, {}
for status in ARGV[7]:gmatch('..') do statuses[#statuses + 1] = status end
for i = 8, #ARGV do tags[#tags + 1] = ARGV[i] end

local found = {} -- {place, status or nil, what is replied}
local function walk(set, prefix, from, to, count, status)
  local members
  if newest and name == '' then
    members = redis.call('ZRANGE', set, '(' .. to, '(' .. from, 'BYLEX', 'REV', 'LIMIT', 0, count)
  else
    members = redis.call('ZRANGE', set, '(' .. from, '(' .. to, 'BYLEX', 'LIMIT', 0, count)
  end
  for _, member in ipairs(members) do
    local place = prefix and member:sub(#prefix + 1) or member:match('%z(.*)$')
    found[#found + 1] = {place, status, prefix and place or member}
  end
end

local first_looked_up = 1 -- of the tags
local looked_up = #tags > 1
if name ~= '' then
  looked_up = #tags > 0 or #statuses < 5 or low ~= '' or high ~= ':'
  walk(KEYS[4], nil, ARGV[6] > name and ARGV[6] or name, name .. '\255', looked_up and EXAMINED or limit, nil)
else
  first_looked_up = 2
  for _, status in ipairs(statuses) do
    local set, prefix = KEYS[2], status
    if #tags > 0 then set, prefix = KEYS[3], tags[1] .. '\0' .. status end
    walk(set, prefix, prefix .. low, prefix .. high, looked_up and EXAMINED or limit, status)
  end
  if #statuses > 1 then
    table.sort(found, function(a, b) if newest then return a[1] > b[1] end return a[1] < b[1] end)
  end
end

local function matches(place, status)
  if not status then
    if place <= low or place >= high then return false end
    for _, each in ipairs(statuses) do
      if redis.call('ZSCORE', KEYS[2], each .. place) then status = each end
    end
    if not status then return false end
  end
  for i = first_looked_up, #tags do
    if not redis.call('ZSCORE', KEYS[3], tags[i] .. '\0' .. status .. place) then return false end
  end
  return true
end

local reply = {redis.call('HGET', KEYS[1], 'changed') or '', ''}
for i, each in ipairs(found) do
  if i > EXAMINED then break end
  if not looked_up or matches(each[1], each[2]) then reply[#reply + 1] = each[3] end
  if #reply == limit + 2 then break end
  if i == EXAMINED then reply[2] = each[3] end
end
return reply
