#!lua
-- Moves dead letters back to the end of the outbox.
-- KEYS: 1 outbox, 2 dead letters
-- ARGV: 1 namespace, or '' for each, 2 how many at most, 3.. entry ids, or none for the oldest 1,000
-- Replies how many were moved.

redis.call('XLEN', KEYS[1])
local limit = tonumber(ARGV[2])
local dead = {}
if #ARGV == 2 then dead = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1000) end
for i = 3, #ARGV do dead[#dead + 1] = redis.call('XRANGE', KEYS[2], ARGV[i], ARGV[i])[1] end
local moved = 0
for _, entry in ipairs(dead) do
  local fields, kept, namespace = entry[2], {}, nil
  for i = 1, #fields, 2 do
    if fields[i] == 'facts' then namespace = fields[i + 1]:match('^namespace=(%S*)') end
    if fields[i] ~= 'error' then
      kept[#kept + 1] = fields[i]
      kept[#kept + 1] = fields[i + 1]
    end
  end
  if moved < limit and (ARGV[1] == '' or ARGV[1] == namespace)
    and redis.call('XDEL', KEYS[2], entry[1]) == 1 then -- it may be named twice
    redis.call('XADD', KEYS[1], '*', unpack(kept))
    moved = moved + 1
  end
end
return moved
