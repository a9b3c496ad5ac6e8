-- What a token remembers. Who includes this has
-- KEYS: 2 write token
-- ARGV: 1 fingerprint of the request, 2 id of this attempt
-- @include clock

-- What this token's first run answered, or nil. Second result: whether the caller asks again, and not the client
-- library. Third result: whether the token belongs to another request.
local function recorded()
  local token = redis.call('GET', KEYS[2])
  if not token then return nil end
  local fingerprint, attempt, answer = token:match('^([^\n]*)\n([^\n]*)\n(.*)$')
  return answer, attempt ~= ARGV[2] and 1 or 0, fingerprint ~= ARGV[1]
end
