#!lua flags=allow-oom
-- Says what became of outbox entries. Each is deleted; what was not accepted yet is added again behind the others, with
-- its first moment and ids; what never can be goes to the dead letters. An entry that somebody else settled is left.
-- KEYS: 1 outbox, 2 dead letters, when some are dead
-- ARGV: for each entry: its id, the drafts to try again or '', the drafts that are dead or '', their error; '*' stands
--       for all drafts that the entry has
-- Replies how many entries this call settled.

if KEYS[2] then redis.call('XLEN', KEYS[2]) end

local function add(stream, entry, drafts, ...)
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == 'drafts' and drafts ~= '*' then fields[i + 1] = drafts end
  end
  for _, more in ipairs({...}) do fields[#fields + 1] = more end
  redis.call('XADD', stream, '*', unpack(fields))
end

local settled = 0
for i = 1, #ARGV, 4 do
  local id, again, dead, failure = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local entry = (again ~= '' or dead ~= '') and redis.call('XRANGE', KEYS[1], id, id)[1]
  -- It is added before it is deleted: a stream that takes nothing more must not cost an event.
  if entry and again ~= '' then add(KEYS[1], entry, again) end
  if entry and dead ~= '' then add(KEYS[2], entry, dead, 'error', failure) end
  settled = settled + redis.call('XDEL', KEYS[1], id)
end
return settled
