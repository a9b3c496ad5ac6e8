-- What the writing scripts share. They all have
-- KEYS: 1 outbox of the partition, 2 write token, 3 statistics
-- ARGV: 1 fingerprint of the request, 2 id of this attempt, 3 life of the token in seconds, 4 namespace
--
-- A mission is three lines: its facts, its reason as JSON or empty, and what its caller sent as JSON. A log entry is
-- two: its facts, and its message and data as JSON. Moments are 16 digits, Unix microseconds: a float would lose some.
-- JSON is never decoded here. Redis rolls nothing back: a script reads every key that it will write (a key of a wrong
-- type fails there), decides, and writes last; into the outbox first, which is the one write that can fail by itself.
-- @include token

local function record(answer)
  redis.call('SET', KEYS[2], ARGV[1] .. '\n' .. ARGV[2] .. '\n' .. answer, 'EX', ARGV[3])
end

-- One outbox entry: the drafts of up to ten events of a mission, and what only the store knows of them. `also` are more
-- facts, `content` is what the caller of a mission sent, where its events tell of it. Gives the entry's id.
local function publish(id, drafts, moment, sequence, tags, also, content)
  local facts = 'namespace=' .. ARGV[4] .. ' mission=' .. id .. ' moment=' .. moment .. ' sequence=' .. sequence
  if tags then facts = facts .. ' tags=' .. tags end
  if also then facts = facts .. ' ' .. also end
  if content then return redis.call('XADD', KEYS[1], '*', 'facts', facts, 'drafts', drafts, 'content', content) end
  return redis.call('XADD', KEYS[1], '*', 'facts', facts, 'drafts', drafts)
end
