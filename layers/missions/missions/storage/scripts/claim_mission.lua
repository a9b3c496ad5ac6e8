#!lua
-- Gives the first of these candidates that is still PENDING to a worker: it becomes RUNNING.
-- KEYS: 1 to 6 see write.lua, enter.lua and move.lua, 7.. mission and log of each candidate
-- ARGV: 1 to 5 see write.lua and move.lua, 6 worker or '', 7 lease in seconds or '', 8 log entry, 9 drafts of two
--       events, or '' for none, 10 the tags that it was asked for, with commas between them, 11.. place of each
--       candidate
-- Replies {'claimed', replayed, id, facts and reason, what the caller sent, outbox entry id or ''}, without the last
-- two for what this token's first run answered; or {'none'}, {'broken'}, {'reused'}.
-- @include transition

local answer, replayed, reused = recorded()
if reused then return {'reused'} end
if answer then
  local id, state = answer:match('^(%S+) (.*)$')
  return {'claimed', replayed, id, state}
end

for i = 11, #ARGV do
  local place, key, log = ARGV[i], KEYS[2 * i - 15], KEYS[2 * i - 14]
  local mission = mission_at(key)
  if not mission or mission.known.created ~= place:sub(1, 16) then -- it was lost, and would be a candidate for ever
    for _, letters in ipairs({'PE', 'WA'}) do
      redis.call('ZREM', INDEX, letters .. place)
      for tag in ARGV[10]:gmatch('[^,]+') do redis.call('ZREM', INDEX, 't' .. tag .. '\0' .. letters .. place) end
    end
    redis.call('ZREM', QUEUE, place)
  elseif mission.known.status == 'PENDING' then
    local known, now = mission.known, clock(mission.known.active)
    if not (known.deadline and known.deadline <= now) and not (known.not_before and known.not_before > now) then
      local changes, id = {}, place:sub(17)
      if ARGV[6] ~= '' then changes.worker = ARGV[6] end
      if ARGV[7] ~= '' then changes.lease = ARGV[7] end
      local state, entry = transition({
        mission = mission, key = key, log = log, id = id, to = 'RUNNING', now = now, reason = '', entry = ARGV[8],
        drafts = ARGV[9], changes = changes,
      })
      if not state then return {'broken'} end
      record(id .. ' ' .. state)
      return {'claimed', 0, id, state, mission.content, entry}
    end
  end
end
return {'none'}
