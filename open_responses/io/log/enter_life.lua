-- Begins a life of a response's log, unless it has one. The fence stays: the writer may turn out to be an old one.
-- KEYS: state.  ARGV: fence, life to begin, TTL in seconds
-- Returns the log's life; '' where a newer writer owns the log.
local state = redis.call('HMGET', KEYS[1], 'fence', 'life')
if tonumber(ARGV[1]) < tonumber(state[1] or '-1') then return '' end
if state[2] then return state[2] end
redis.call('HSET', KEYS[1], 'life', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return ARGV[2]
