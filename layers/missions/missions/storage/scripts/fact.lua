-- Named facts: 'status=RUNNING version=2 ...', the first line of a mission and of a log entry. A script changes the
-- facts that it knows and keeps the others, so a later version may add facts and earlier records stay readable. A fact
-- has no space in it; a text has U+001F instead.

local function fact(facts, name)
  local _, at = (' ' .. facts):find(' ' .. name .. '=', 1, true) -- a pattern would be tried at each letter
  return at and facts:match('^%S*', at)
end
