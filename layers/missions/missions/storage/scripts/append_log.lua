#!lua
-- Appends entries to a mission's log, all at one moment.
-- KEYS: 1 to 3 see write.lua, 4 mission, 5 log
-- ARGV: 1 to 4 see write.lua, 5 mission id, 6 number of entries, 7.. the entries, then the drafts of their events, an
--       array for each ten of them, or nothing
-- Replies {'appended', replayed, moment, sequence of the first event, tags or '', outbox entry ids, ...}; or
-- {'missing'}, {'broken'}, {'removed', moment}, {'reused'}.
-- @include write
-- @include facts

local mission, log = KEYS[4], KEYS[5]
local answer, replayed, reused = recorded()
if reused then return {'reused'} end
if answer then return {'appended', replayed, answer, 0, ''} end

local facts, what = head(mission)
if not facts then return what end
local active, sequence, logged = fact(facts, 'active'), count(facts, 'sequence'), count(facts, 'logged')
if not (active and sequence and logged) then return {'broken'} end
redis.call('LLEN', log)
local changed = redis.call('HGET', KEYS[3], 'changed')

local now, number, tags = clock(active), tonumber(ARGV[6]), fact(facts, 'tags')
local reply = {'appended', 0, now, sequence + 1, tags or ''}
for i = 7 + number, #ARGV do reply[#reply + 1] = publish(ARGV[5], ARGV[i], now, sequence + 1, tags) end
change_facts(mission, facts, {active = now, sequence = sequence + number, logged = logged + number})
local entries = {}
for i = 1, number do entries[i] = 'moment=' .. now .. ' ' .. ARGV[6 + i] end
redis.call('RPUSH', log, unpack(entries))
redis.call('HSET', KEYS[3], 'changed', after(changed, now))
record(now)
return reply
