local function after(last, now) -- this moment, but always after `last`: the clock may have been set back
  return last and last >= now and ('%016.0f'):format(last + 1) or now
end

local function clock(last) -- the store's clock, but always after `last`
  local time = redis.call('TIME')
  return after(last, time[1] .. ('00000' .. time[2]):sub(-6))
end
