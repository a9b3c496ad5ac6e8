#!lua flags=no-writes
-- Which missions a page shows, in one step: a mission that changes its status at that moment is shown once, or not.
-- Without a name they come by creation time and then id: runs of the index are merged, one for each status, of all
-- missions or of those with the first tag. With a name they come by name, in one run. What else is
-- asked for is looked up.
-- KEYS: 1 statistics, 2 index
-- ARGV: 1 how many, 2 'newest' or 'oldest' first, 3 and 4 what the places lie between, 5 the name's beginning or '',
--       6 the name and place after which the page begins, or '', 7 the statuses, two letters each, 8.. the tags
-- Replies {moments of the namespace's last changes or '', last mission examined, or '' when all were, mission, ...}; each
-- is a place, and with a name that and the place.
-- @include bytes

local EXAMINED = 1000 -- of what has to be looked up a call examines no more, and a page may be short
local ALL = 6 -- statuses, since PENDING has two kinds of letters
local limit, newest, low, high, name = tonumber(ARGV[1]), ARGV[2] == 'newest', ARGV[3], ARGV[4], ARGV[5]
local by_name = name ~= ''
local statuses = {}
for status in ARGV[7]:gmatch('..') do statuses[#statuses + 1] = status end
local first_tag = by_name and 8 or 9 -- of those that are looked up
local looked_up = #ARGV >= first_tag or by_name and (#statuses < ALL or low ~= '' or high ~= ':')
local count = looked_up and EXAMINED or limit

-- A run: members of the index in order, the status that all have or nil, and what is next: its place, the moment of that
-- place, and what is replied of it.
local runs = {}

local function go_on(run)
  run.at = run.at + 1
  local member = run.members[run.at]
  run.shown = member and member:sub(run.cut)
  run.place = by_name and member and member:match('%z(.*)$') or run.shown
  run.moment = run.place and run.place:sub(1, 16)
end

local function add(members, cut, status)
  local run = {members = members, cut = cut, status = status, at = 0}
  go_on(run)
  if run.place then runs[#runs + 1] = run end
end

if by_name then
  local from = '(n' .. (ARGV[6] ~= '' and ARGV[6] or name)
  add(redis.call('ZRANGE', KEYS[2], from, '(n' .. name .. '\255', 'BYLEX', 'LIMIT', 0, count), 2)
else
  for _, status in ipairs(statuses) do
    local prefix = (ARGV[8] and 't' .. ARGV[8] .. '\0' or '') .. status
    local from, to = '(' .. prefix .. low, '(' .. prefix .. high
    if newest then
      add(redis.call('ZRANGE', KEYS[2], to, from, 'BYLEX', 'REV', 'LIMIT', 0, count), #prefix + 1, status)
    else
      add(redis.call('ZRANGE', KEYS[2], from, to, 'BYLEX', 'LIMIT', 0, count), #prefix + 1, status)
    end
  end
end

local function older(one, other)
  if one.moment ~= other.moment then return one.moment < other.moment end
  return before(one.place, other.place)
end

-- The run whose next member is the first of all; nil when all are at their end.
local function first()
  local found
  for _, run in ipairs(runs) do
    if run.place and (not found or older(run, found) ~= newest) then found = run end
  end
  return found
end

local function matches(place, status)
  if not status then
    local moment = tonumber(place:sub(1, 16))
    if moment < (tonumber(low) or 0) or moment >= (tonumber(high) or math.huge) then return false end
    for _, each in ipairs(statuses) do
      if redis.call('ZSCORE', KEYS[2], each .. place) then status = each end
    end
    if not status then return false end
  end
  for i = first_tag, #ARGV do
    if not redis.call('ZSCORE', KEYS[2], 't' .. ARGV[i] .. '\0' .. status .. place) then return false end
  end
  return true
end

local changes = redis.call('HMGET', KEYS[1], 'last_updated', 'changed')
local reply = {(changes[1] or changes[2]) and (changes[1] or '') .. '-' .. (changes[2] or '') or '', ''}
for i = 1, count do
  local run = first()
  if not run then break end
  if not looked_up or matches(run.place, run.status) then reply[#reply + 1] = run.shown end
  if #reply == limit + 2 then break end
  if looked_up and i == EXAMINED then reply[2] = run.shown end
  go_on(run)
end
return reply
