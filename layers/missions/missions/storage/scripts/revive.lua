#!lua
-- Moves dead letters back to the end of the outbox.
-- KEYS: 1 outbox, 2 dead letters
-- ARGV: their entry ids
-- Replies for each its new entry id, or false when it is not there (any more).

redis.call('XLEN', KEYS[1])
local moved = {}
for i, id in ipairs(ARGV) do
  local entry = redis.call('XRANGE', KEYS[2], id, id)[1]
  moved[i] = false
  if entry then
    local kept = {}
    for j = 1, #entry[2], 2 do
      if entry[2][j] ~= 'error' then
        kept[#kept + 1] = entry[2][j]
        kept[#kept + 1] = entry[2][j + 1]
      end
    end
    if #kept > 0 then
      moved[i] = redis.call('XADD', KEYS[1], '*', unpack(kept))
      redis.call('XDEL', KEYS[2], id)
    end
  end
end
return moved
