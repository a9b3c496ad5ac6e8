-- Whether a text comes before another one, byte by byte, as the store sorts them. Lua's own order is that of the server's
-- language; of digits both are the same.
local function before(a, b)
  for i = 1, math.min(#a, #b) do
    local one, other = a:byte(i), b:byte(i)
    if one ~= other then return one < other end
  end
  return #a < #b
end
