local function clock(last) -- the store's clock, but always after `last`: it may have been set back
  local time = redis.call('TIME')
  local now = time[1] .. ('00000' .. time[2]):sub(-6)
  return last and last >= now and ('%016.0f'):format(last + 1) or now
end
