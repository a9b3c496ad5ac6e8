#!lua
-- Records which missions a request is about, and its cursor, so that its repeat is about the same ones.
-- KEYS: 1 to 3 see write.lua
-- ARGV: 1 to 4 see write.lua, 5 cursor or '-', 6.. ids; without them it only reads
-- Replies {'recorded', cursor, id, ...} of this token's first run, which may be this one; or {'none'}, {'reused'}.
-- @include write

local answer, _, reused = recorded()
if reused then return {'reused'} end
if not answer then
  if #ARGV < 6 then return {'none'} end
  answer = table.concat(ARGV, ' ', 5)
  record(answer)
end
local reply = {'recorded'}
for part in answer:gmatch('%S+') do reply[#reply + 1] = part end
return reply
