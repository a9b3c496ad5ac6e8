#!lua
-- Takes a sign of life of a mission that is RUNNING: a fact, and nothing else. When sweep_missions looks at the mission
-- because its last sign was old when it was filed, it files it again.
-- KEYS: 1 mission, 2 statistics
-- ARGV: 1 progress or '', 2 note or ''
-- Replies {facts, reason as JSON or ''}; or {'missing'}, {'broken'}, {'removed', moment}.
-- @include clock
-- @include facts

local facts, what = head(KEYS[1])
if not facts then return what end
local active = fact(facts, 'active')
if not active then return {'broken'} end
if fact(facts, 'status') ~= 'RUNNING' then
  return {facts, redis.call('GETRANGE', KEYS[1], #facts + 1, #facts + 8192):match('^[^\n]*')}
end
local changed = redis.call('HGET', KEYS[2], 'changed')
local now = clock(active)
local changes = {active = now}
if ARGV[1] ~= '' then changes.progress = ARGV[1] end
if ARGV[2] ~= '' then changes.note = ARGV[2] end
facts = change_facts(KEYS[1], facts, changes)
redis.call('HSET', KEYS[2], 'changed', after(changed, now))
return {facts, ''}
