-- How a mission changes its status: in its record, log and events, and wherever it is found or counted.
-- @include move

-- `move` has: mission (see mission_at), its key, log and id, `to` (the new status), `now`, `reason` (JSON or ''), `entry`
-- (of the log), `drafts` (of two events, or ''), `changes` (more facts that change), `durations` (a key, where it may
-- have run), and `successor`: the key, log, id and entry of the next attempt, its drafts, and when it may be claimed.
-- Gives the new facts and reason, the outbox entry's id or '', and that of the next attempt's; nil for what is broken.
local function transition(move)
  local mission, known, to, now = move.mission, move.mission.known, move.to, move.now
  local from, successor = known.status, move.successor
  redis.call('LLEN', move.log)
  redis.call('ZCARD', INDEX)
  redis.call('ZCARD', QUEUE)
  local changes = move.changes or {}
  changes.status, changes.version, changes.updated, changes.active = to, mission.version + 1, now, now
  changes.sequence, changes.logged = mission.sequence + 2, mission.logged + 1
  local counts = {[from] = -1, [to] = 1}
  if to == 'RUNNING' then
    changes.started = now
  else
    counts['ever ' .. to], counts[in_hour(now, to)] = 1, 1
  end

  -- How long finished missions ran, in milliseconds, counted in buckets. A mission that is cancelled after it finished
  -- is taken out again.
  local by, ran = 0, 0
  if to == 'COMPLETED' or to == 'FAILED' then
    by, ran = 1, ran_for(known, now)
  elseif from == 'COMPLETED' or from == 'FAILED' then
    by, ran, changes.finished = -1, ran_for(known, known.updated), known.updated
  end
  local durations = by ~= 0 and tally(move.durations, {[bucket_of(ran)] = by, sum = by * ran})
  if durations == nil then return nil end

  local next_facts
  if successor then
    changes.next = successor.id
    counts.PENDING, counts[in_hour(now, 'created')] = 1, 1
    next_facts = next_attempt(known, move.id, now, successor.not_before)
    if redis.call('EXISTS', successor.key, successor.log) > 0 then return nil end
  end
  local facts = with_facts(mission.facts, changes)
  local updated = redis.call('HGET', STATS, 'last_updated')
  local stats, new = tally(STATS, counts)
  if not stats then return nil end
  local was_due = due(known, ARGV[5])
  local is_due = due(setmetatable(changes, {__index = known}), ARGV[5]) -- of what it will be
  if was_due or is_due then redis.call('ZCARD', DUE) end

  local entry, next_entry = '', ''
  if move.drafts ~= '' then
    entry = publish(move.id, move.drafts, now, mission.sequence + 1, known.tags, 'old_status=' .. from)
    if successor then next_entry = publish(successor.id, successor.drafts, now, 1, known.tags, nil, mission.content) end
  end
  redis.call('SET', move.key, facts .. '\n' .. move.reason .. '\n' .. mission.content)
  redis.call('RPUSH', move.log, 'moment=' .. now .. ' from=' .. from .. ' to=' .. to .. ' ' .. move.entry)
  index(known, move.id, from, to)
  file(move.id, was_due, is_due)
  if durations then redis.call('HSET', move.durations, unpack(durations)) end
  if successor then
    enter(successor.key, successor.log, successor.id, next_facts, by_name(next_facts), mission.content,
      'attempt=' .. fact(next_facts, 'attempt') .. ' retry_of=' .. move.id .. ' ' .. successor.entry, now)
  end
  redis.call('HSET', STATS, 'last_updated', after(updated, now), unpack(stats))
  if new then forget_history(now) end
  return facts .. '\n' .. move.reason, entry, next_entry
end
