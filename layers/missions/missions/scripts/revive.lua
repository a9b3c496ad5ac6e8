#!lua
-- Moves dead letters back to the end of the outbox.
-- KEYS: 1 outbox, 2 dead letters
-- ARGV: their entry ids, or none for all (up to 1000 a call)
-- Replies how many were moved.

redis.call('XLEN', KEYS[1])
local dead = {}
if #ARGV == 0 then dead = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1000) end
for _, id in ipairs(ARGV) do
  dead[#dead + 1] = redis.call('XRANGE', KEYS[2], id, id)[1]
end
local moved = 0
for _, entry in ipairs(dead) do
  if redis.call('XDEL', KEYS[2], entry[1]) == 1 then -- it may be named twice
    redis.call('XADD', KEYS[1], '*', 'facts', entry[2][2])
    moved = moved + 1
  end
end
return moved
