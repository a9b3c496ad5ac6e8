local function clock(last) -- the store's clock, but never before `last`: it may have been set back
  local time = redis.call('TIME')
  local now = time[1] .. ('00000' .. time[2]):sub(-6)
  return last and last > now and last or now
end
