-- Appends events to one response's log: fenced, exactly once, and published.
-- KEYS: log, state.  ARGV: fence, sequence number of the first event, TTL in seconds, channel, the writer's origin (goes
-- with each event that is published, and to the state), the log's life as the writer knows it (`*`: any), number of
-- fields to set in the state, field and value of each, events ...
-- Returns {code, length of the log, cancelled}. Codes: 0 appended, 1 fenced (a newer attempt owns the log), 2 gap (the log
-- is shorter than the writer thinks: it was flushed; nothing was written), 3 diverged (the log holds another event
-- where the writer would put one of these; nothing was written), 4 another life (the state was lost, or another run has
-- taken the log over: the writer may not be the newest, although no fence says so; nothing was written).
local state = redis.call('HMGET', KEYS[2], 'fence', 'cancelled', 'origin', 'life')
local cancelled = state[2] and 1 or 0
local length = redis.call('XLEN', KEYS[1])
local fence, newest = tonumber(ARGV[1]), tonumber(state[1] or '-1')
if fence < newest then return {1, length, cancelled} end
if state[4] ~= ARGV[6] and not (ARGV[6] == '*' and state[4]) then return {4, length, cancelled} end
local first = tonumber(ARGV[2])
if length < first then return {2, length, cancelled} end
if fence > newest then
  redis.call('HSET', KEYS[2], 'fence', ARGV[1])
  redis.call('EXPIRE', KEYS[2], ARGV[3])
end
if state[3] ~= ARGV[5] then
  -- `origins`: the writers so far, oldest first. One that began ahead of a later one says nothing more than that one.
  -- The first writer of a log that is new, or whose last writer did not keep this field, stands for all before it.
  local writer, begin = string.match(ARGV[5], '^(%d+)%-(%d+)$')
  local origins, kept = redis.call('HGET', KEYS[2], 'origins') or '', {}
  if state[3] and string.match(origins, '(%d+)%-%d+$') == string.match(state[3], '^%d+') then
    for other, from in string.gmatch(origins, '(%d+)%-(%d+)') do
      if tonumber(from) < tonumber(begin) then kept[#kept + 1] = other .. '-' .. from end
    end
  else
    begin = '0'
  end
  if #kept == 0 or string.match(kept[#kept], '^%d+') ~= writer then kept[#kept + 1] = writer .. '-' .. begin end
  if #kept > 16 then
    kept[2] = string.match(kept[2], '^%d+') .. string.match(kept[1], '%-%d+$')
    table.remove(kept, 1)
  end
  redis.call('HSET', KEYS[2], 'origin', ARGV[5], 'origins', table.concat(kept, ' '))
end
local fields = tonumber(ARGV[7])
local skipped = 7 + 2 * fields
-- The log has more than the writer knows: its reply got lost, or a workflow task is repeated. Equal events are skipped.
if length > first and #ARGV > skipped then
  -- An entry's id is one more than its sequence number.
  local last = math.min(length, first + #ARGV - skipped)
  local there = redis.call('XRANGE', KEYS[1], (first + 1) .. '-0', last .. '-0')
  for i, entry in ipairs(there) do
    if entry[2][2] ~= ARGV[skipped + i] then return {3, length, cancelled} end
  end
end
for i = skipped + 1 + length - first, #ARGV do
  redis.call('XADD', KEYS[1], (first + i - skipped) .. '-0', 'e', ARGV[i])
  redis.call('PUBLISH', ARGV[4], ARGV[5] .. ' ' .. ARGV[i])
end
if length == 0 then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
for i = 8, skipped, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
return {0, redis.call('XLEN', KEYS[1]), cancelled}
