#!lua
-- Records which missions a request is about, so that its repeat is about the same ones. No missions are not recorded.
-- KEYS: 1 to 3 see write.lua
-- ARGV: 1 to 4 see write.lua, 5.. ids
-- Replies {'recorded', the ids that this token's first run recorded, now or before, ...}; or {'reused'}.
-- @include write

local answer, _, reused = recorded()
if reused then return {'reused'} end
if not answer then
  answer = table.concat(ARGV, ' ', 5)
  if answer ~= '' then record(answer) end
end
local reply = {'recorded'}
for id in answer:gmatch('%S+') do reply[#reply + 1] = id end
return reply
