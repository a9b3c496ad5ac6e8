-- To read and to change the facts of a mission.
-- @include fact

local function counted(value) -- a number that Lua counts exactly, or nil
  value = tonumber(value)
  return value and value >= 0 and value < 1e15 and value or nil
end

local function count(facts, name)
  return counted(fact(facts, name))
end

local function by_name(facts)
  local known = {}
  for name, value in facts:gmatch('([%w_]+)=(%S*)') do known[name] = value end
  return known
end

local function with_facts(facts, changes)
  local left = {}
  for name, value in pairs(changes) do left[name] = value end
  facts = facts:gsub('([%w_]+)=%S*', function(name)
    local value = left[name]
    if value then
      left[name] = nil
      return name .. '=' .. value
    end
  end)
  for name, value in pairs(left) do facts = facts .. ' ' .. name .. '=' .. value end
  return facts
end

-- The facts of a mission, without what its caller sent. Without them nil and what to reply.
local function head(mission)
  local facts = redis.call('GETRANGE', mission, 0, 511):match('^([^\n]*)\n')
  if not facts then
    local record = redis.call('GET', mission)
    if not record then return nil, {'missing'} end
    facts = record:match('^([^\n]*)\n')
    if not facts then return nil, {'broken'} end
  end
  local removed = fact(facts, 'removed')
  if removed then return nil, {'removed', removed} end
  return facts
end

local function change_facts(mission, facts, changes) -- of the mission that has these facts
  local changed = with_facts(facts, changes)
  if #changed == #facts then -- as nearly always: what the caller sent is neither read nor written
    redis.call('SETRANGE', mission, 0, changed)
  else
    redis.call('SET', mission, changed .. redis.call('GETRANGE', mission, #facts, -1))
  end
  return changed
end
