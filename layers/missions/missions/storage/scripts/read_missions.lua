#!lua flags=no-writes
-- The records of missions, in order, until they are as large as Lambda can answer.
-- KEYS: the missions
-- Replies a record or false for each, one at least.

local BYTES = 2000000 -- Lambda answers 6 MB, in which JSON within JSON may take more than twice its length
local records, bytes = {}, 0
for i, key in ipairs(KEYS) do
  local record = redis.pcall('GET', key)
  if type(record) == 'table' then record = '' end -- a key of a wrong type: broken, and no reason to fail the page
  if record then
    bytes = bytes + #record
    if i > 1 and bytes > BYTES then break end
  end
  records[i] = record
end
return records
