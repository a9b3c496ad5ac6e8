-- What the writing scripts share; the store puts it behind each one's #!lua line. They all have
-- KEYS: 1 mission, 2 log, 3 outbox, 4 token
-- ARGV: 1 fingerprint of the request, 2 life of the token in seconds, 3 '1' when events are published
--
-- A mission is three lines: "status version created updated duration", its reason as JSON or empty, and its content
-- as JSON. Moments are text of 16 digits, Unix microseconds: a float would lose some. JSON is never decoded here.
-- Redis rolls nothing back, so a script reads each key it will write (a key of a wrong type fails then) and writes last.

local function micros(last) -- the store's clock, but never before `last`: it may have been set back
  local time = redis.call('TIME')
  local now = time[1] .. string.format('%06d', time[2])
  return last and last > now and last or now
end

local function seconds(moment)
  return moment:sub(1, -7) .. '.' .. moment:sub(-6)
end

local function recorded() -- the answer this token's first run gave, or false; second result: it was another request
  local token = redis.call('GET', KEYS[4])
  if not token then return false end
  local fingerprint, answer = token:match('^(%x+)\n(.*)$')
  return fingerprint == ARGV[1] and answer, fingerprint ~= ARGV[1]
end

local function record(answer)
  redis.call('SET', KEYS[4], ARGV[1] .. '\n' .. answer, 'EX', ARGV[2])
end

local function log_end() -- the number of log entries and the moment of the last, which is the mission's last of all
  local first, digits = redis.call('LINDEX', KEYS[2], -1):match('^{"timestamp":(%d+)%.(%d+)')
  return redis.call('LLEN', KEYS[2]), first .. digits
end

local events = {} -- what went into the outbox: entry id and beginning of the facts, of each; the caller knows the rest

local function emit(sequence, moment, facts, more) -- facts: the rest of a JSON object; more: members before it
  if ARGV[3] ~= '1' then return end
  local beginning = '{"sequence":' .. sequence .. ',"timestamp":' .. seconds(moment) .. ',' .. (more or '')
  events[#events + 1] = redis.call('XADD', KEYS[3], '*', 'facts', beginning .. facts)
  events[#events + 1] = beginning
end

local function append(moment, entry) -- entry: the rest of a JSON object, likewise
  redis.call('RPUSH', KEYS[2], '{"timestamp":' .. seconds(moment) .. ',' .. entry)
end
