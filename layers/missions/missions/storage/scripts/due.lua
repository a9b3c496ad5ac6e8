-- When somebody has to look at a mission, and for which of its limits: 'deadline', 'timeout', 'heartbeat_timeout', or
-- 'retention' once it is finished. Without a limit nil. `known` are its facts by name, `keep` is how many seconds a
-- finished mission is kept that does not say so itself; 0 is for ever.

local function due(known, keep)
  local first, limit
  local function by(name, moment, seconds)
    moment, seconds = tonumber(moment), tonumber(seconds)
    moment = moment and seconds and moment + seconds * 1000000
    if moment and (not first or moment < first) then first, limit = moment, name end
  end
  if known.status == 'PENDING' or known.status == 'RUNNING' then by('deadline', known.deadline, 0) end
  if known.status == 'RUNNING' then
    by('timeout', known.started, known.timeout)
    by('heartbeat_timeout', known.active, known.lease or known.heartbeat)
  elseif known.status ~= 'PENDING' then
    local kept = known.retention or keep
    if kept ~= '0' then by('retention', known.finished or known.updated, kept) end
  end
  return first, limit
end
