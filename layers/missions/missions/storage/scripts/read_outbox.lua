#!lua flags=no-writes
-- Outbox entries, oldest first, without those that their own request is still publishing.
-- KEYS: 1 outbox
-- ARGV: 1 entry id to begin after, 2 how many entries at most, 3 bytes after which a page ends, 4 age in milliseconds
--       from which an entry is taken
-- Replies {id to go on after, or false when all was read, {entry id, fields}, ...}.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local limit, bytes, young = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local reply = {false}
local after = ARGV[1]
repeat
  local entries = redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', 20)
  for _, entry in ipairs(entries) do
    after = entry[1]
    local fields, age = entry[2], nil
    for i = 1, #fields, 2 do
      bytes = bytes - #fields[i + 1]
      if fields[i] == 'facts' then
        local moment = fields[i + 1]:match(' moment=(%d+)')
        age = moment and now - math.floor(moment / 1000)
      end
    end
    -- An entry from the future was written before the clock was set back: how old it is cannot be told, so it is taken.
    if not age or age < 0 or age >= young then reply[#reply + 1] = entry end
    if #reply > limit or bytes <= 0 then
      reply[1] = after
      return reply
    end
  end
until #entries < 20
return reply
