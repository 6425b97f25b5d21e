-- Stores the API keys that were read from Temporal, unless newer ones were stored since the read began.
-- KEYS: the copy. ARGV: revision, keys as JSON, when the read began (milliseconds of Redis' clock), time to live in
-- seconds. A revision may be smaller than an earlier one, if an operator has set the workflow back.
local known, stored = unpack(redis.call('HMGET', KEYS[1], 'revision', 'stored'))
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if not known or tonumber(known) <= tonumber(ARGV[1]) or tonumber(stored) < tonumber(ARGV[3]) then
    redis.call('HSET', KEYS[1], 'revision', ARGV[1], 'keys', ARGV[2], 'stored', now)
end
redis.call('HSET', KEYS[1], 'checked', now)
redis.call('EXPIRE', KEYS[1], ARGV[4])
