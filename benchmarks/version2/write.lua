-- What the writing scripts share. They all have
-- KEYS: 1 mission, 2 log, 3 outbox of the partition, 4 write token
-- ARGV: 1 fingerprint of the request, 2 id of this attempt, 3 life of the token in seconds, 4 namespace, 5 mission id
--
-- A mission is three lines: its facts, its reason as JSON or empty, and what its caller sent as JSON. A log entry is
-- two: its facts, and its message and data as JSON. Moments are 16 digits, Unix microseconds: a float would lose some.
-- JSON is never decoded here. Redis rolls nothing back: a script reads every key that it will write (a key of a wrong
-- type fails there), decides, and writes last; into the outbox first, which is the one write that can fail by itself.

local function clock(last) -- the store's clock, but never before `last`: it may have been set back
  local time = redis.call('TIME')
  local now = time[1] .. ('00000' .. time[2]):sub(-6)
  return last and last > now and last or now
end

-- What this token's first run answered, or nil. Second result: whether the caller asks again, and not the client
-- library. Third result: whether the token belongs to another request.
local function recorded()
  local token = redis.call('GET', KEYS[4])
  if not token then return nil end
  local fingerprint, attempt, answer = token:match('^([^\n]*)\n([^\n]*)\n(.*)$')
  return answer, attempt ~= ARGV[2] and 1 or 0, fingerprint ~= ARGV[1]
end

local function record(answer)
  redis.call('SET', KEYS[4], ARGV[1] .. '\n' .. ARGV[2] .. '\n' .. answer, 'EX', ARGV[3])
end

-- One outbox entry: the drafts of up to ten events, and what only the store knows of them. Gives the entry's id.
local function publish(drafts, moment, sequence, old_status)
  local facts = 'namespace=' .. ARGV[4] .. ' mission=' .. ARGV[5] .. ' moment=' .. moment .. ' sequence=' .. sequence
  if old_status then facts = facts .. ' old_status=' .. old_status end
  return redis.call('XADD', KEYS[3], '*', 'facts', facts, 'drafts', drafts)
end
