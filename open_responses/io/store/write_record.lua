-- Writes fields of a response's record, unless the response was erased: a late writer recreates nothing.
-- KEYS: the record.  ARGV: TTL in seconds, '1' to write only where no other request is kept, field and value
-- of each, `start` first ...
-- Returns 1 written, 0 another request is kept already, -1 erased.
if redis.call('HEXISTS', KEYS[1], 'deleted') == 1 then return -1 end
-- The same request again is the same command, sent a second time because its reply was lost.
local kept = ARGV[2] == '1' and redis.call('HGET', KEYS[1], 'start')
if kept and kept ~= ARGV[4] then return 0 end
-- An end that was written in the run's stead stays: the run's worker may be a moment behind (conclude.lua).
local stays = redis.call('HEXISTS', KEYS[1], 'outside') == 1 and {response = true, trace = true, usage = true} or {}
for i = 3, #ARGV, 2 do
  if not stays[ARGV[i]] then redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
