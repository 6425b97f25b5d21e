-- Raises the fence of a response's log and reads the log. Appends with an older fence are rejected from here on, so the
-- entries that this returns are final.
-- KEYS: log, state.  ARGV: fence, TTL in seconds, entry id to read from, turn, id of the run (empty: any), the life to
-- begin where the log has none, or one of another run (empty: begin none).
-- Returns {1, its fence, {}, {}, 0, ''} when a newer attempt owns the log, or one of another run under the same number; else
-- {0, cancelled, what is known of the turn (its record, its resume token, its tokens so far), entries, whether the log was
-- found to be lost before, the log's life}.
local state = redis.call('HMGET', KEYS[2], 'fence', 'cancelled', 'anew', 'run', 'life')
local fence, newest = tonumber(ARGV[1]), tonumber(state[1] or '-1')
local is_foreign = ARGV[5] ~= '' and state[4] and state[4] ~= ARGV[5]
if fence < newest or (fence == newest and is_foreign) then return {1, newest, {}, {}, 0, ''} end
redis.call('HSET', KEYS[2], 'fence', ARGV[1])
if ARGV[5] ~= '' then redis.call('HSET', KEYS[2], 'run', ARGV[5]) end
local life = state[5] or ''
if ARGV[6] ~= '' and (life == '' or state[4] ~= ARGV[5]) then
  life = ARGV[6]
  redis.call('HSET', KEYS[2], 'life', life)
end
redis.call('EXPIRE', KEYS[2], ARGV[2])
local turn = {}
for i, name in ipairs({'turn:', 'resume:', 'spent:'}) do
  turn[i] = redis.call('HGET', KEYS[2], name .. ARGV[4]) or ''
end
return {0, state[2] and 1 or 0, turn, redis.call('XRANGE', KEYS[1], ARGV[3], '+'), state[3] and 1 or 0, life}
