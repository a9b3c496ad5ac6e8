-- Named facts: 'status=RUNNING version=2 ...', the first line of a mission and of a log entry. A script changes the
-- facts that it knows and keeps the others, so a later version may add facts and earlier records stay readable.

local function fact(facts, name)
  return (' ' .. facts):match(' ' .. name .. '=(%S*)')
end

local function count(facts, name) -- a fact that counts something; nil when it is no number that Lua counts exactly
  local value = tonumber(fact(facts, name))
  return value and value >= 0 and value < 1e15 and value or nil
end

local function with_facts(facts, changes)
  facts = facts:gsub('(%w+)=%S*', function(name)
    local value = changes[name]
    if value then
      changes[name] = nil
      return name .. '=' .. value
    end
  end)
  for name, value in pairs(changes) do facts = facts .. ' ' .. name .. '=' .. value end
  return facts
end

-- The facts of a mission, without what its caller sent. Without a mission nil and 'missing', without facts nil and
-- 'broken'.
local function head(mission)
  local facts = redis.call('GETRANGE', mission, 0, 511):match('^([^\n]*)\n')
  if facts then return facts end
  local record = redis.call('GET', mission)
  if not record then return nil, 'missing' end
  return record:match('^([^\n]*)\n'), 'broken'
end
