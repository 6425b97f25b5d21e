-- A circuit breaker for one provider, shared by all workers.
-- KEYS: the breaker (a hash).  ARGV: what ("ask", "failed", "succeeded"), failures that open it, milliseconds that it stays
-- open, milliseconds after which failures are forgotten, the error's code ("failed" only).
-- Returns milliseconds to wait; 0 to go on. Once the time is up, "ask" lets one through and keeps the others waiting.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local limit, open, memory = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if ARGV[1] == 'succeeded' then
  redis.call('DEL', KEYS[1])
  return 0
end
if ARGV[1] == 'failed' then
  local failures = redis.call('HINCRBY', KEYS[1], 'failures', 1)
  redis.call('HSET', KEYS[1], 'error', ARGV[5])
  if failures >= limit then redis.call('HSET', KEYS[1], 'until', now + open) end
  redis.call('PEXPIRE', KEYS[1], memory)
  return 0
end
local till = tonumber(redis.call('HGET', KEYS[1], 'until') or '0')
if till == 0 then return 0 end
if till > now then return till - now end
redis.call('HSET', KEYS[1], 'until', now + open)
return 0
