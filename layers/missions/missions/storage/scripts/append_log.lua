#!lua
-- Appends entries to a mission's log, all at one moment.
-- KEYS: 1 to 4 see write.lua
-- ARGV: 1 to 5 see write.lua, 6 number of entries, 7.. the entries, then the drafts of their events, an array for each
--       ten of them, or nothing
-- Replies {'appended', replayed, moment, sequence of the first event, outbox entry ids, ...}; or {'missing'},
-- {'broken'}, {'reused'}.
-- @include write
-- @include facts

local answer, replayed, reused = recorded()
if reused then return {'reused'} end
if answer then return {'appended', replayed, answer, 0} end

local facts, what = head(KEYS[1])
if not facts then return {what} end
local active, sequence, logged = fact(facts, 'active'), count(facts, 'sequence'), count(facts, 'logged')
if not (active and sequence and logged) then return {'broken'} end
redis.call('LLEN', KEYS[2])

local now, number = clock(active), tonumber(ARGV[6])
local reply = {'appended', 0, now, sequence + 1}
for i = 7 + number, #ARGV do reply[#reply + 1] = publish(ARGV[i], now, sequence + 1) end
local changed = with_facts(facts, {active = now, sequence = sequence + number, logged = logged + number})
if #changed == #facts then -- as nearly always: what the caller sent is neither read nor written
  redis.call('SETRANGE', KEYS[1], 0, changed)
else
  redis.call('SET', KEYS[1], changed .. redis.call('GETRANGE', KEYS[1], #facts, -1))
end
local entries = {}
for i = 1, number do entries[i] = 'moment=' .. now .. ' ' .. ARGV[6 + i] end
redis.call('RPUSH', KEYS[2], unpack(entries))
record(now)
return reply
