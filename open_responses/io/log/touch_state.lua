-- Sets a field of a response's log state, or its time to live, unless the log was closed for good.
-- KEYS: keys whose time to live is set, the state first.  ARGV: the fence of a closed log, TTL in seconds, [field, value]
if redis.call('HGET', KEYS[1], 'fence') == ARGV[1] then return 0 end
if ARGV[3] then redis.call('HSET', KEYS[1], ARGV[3], ARGV[4]) end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[2]) end
return 1
