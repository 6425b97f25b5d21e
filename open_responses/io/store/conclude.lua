-- Ends a response whose run ended without an end of its own: stored and announced in one step, unless it has an end.
-- KEYS: record, log, state.  ARGV: fence of the writer of ends, sequence number of the first event (-1: the log is lost,
-- and gets none), channel, the writer's origin, the response, its trace, TTL in seconds, 1 if it is to be stored, its usage,
-- events ...
-- Returns {code, response, trace}. Codes: 0 this end stands, 1 another end is stored already (it comes with it), 2 the
-- response was erased or the log is another writer's, 3 the log is not as long as the writer has read it: read it again.
local record = redis.call('HMGET', KEYS[1], 'deleted', 'response', 'trace', 'start')
if record[1] then return {2, '', ''} end
if record[2] and record[2] ~= ARGV[5] then return {1, record[2], record[3] or '[]'} end
if tonumber(redis.call('HGET', KEYS[3], 'fence') or '-1') > tonumber(ARGV[1]) then return {2, '', ''} end
local first = tonumber(ARGV[2])
if first >= 0 and redis.call('XLEN', KEYS[2]) ~= first then return {3, '', ''} end
if ARGV[8] ~= '1' then
  redis.call('DEL', KEYS[1])
elseif not record[2] then
  -- Without its start, which Redis has lost, a record is no record: it is restored from Temporal.
  if record[4] then redis.call('HSET', KEYS[1], 'response', ARGV[5], 'trace', ARGV[6], 'outside', '1') end
  if record[4] and ARGV[9] ~= '' then redis.call('HSET', KEYS[1], 'usage', ARGV[9]) end
  if record[4] then redis.call('EXPIRE', KEYS[1], ARGV[7]) end
end
if first >= 0 then
  redis.call('HSET', KEYS[3], 'origin', ARGV[4])
  for i = 10, #ARGV do
    redis.call('XADD', KEYS[2], (first + i - 9) .. '-0', 'e', ARGV[i])
    redis.call('PUBLISH', ARGV[3], ARGV[4] .. ' ' .. ARGV[i])
  end
  redis.call('EXPIRE', KEYS[2], ARGV[7])
  redis.call('EXPIRE', KEYS[3], ARGV[7])
end
return {0, '', ''}
