-- Deletes a response's record, but never a tombstone.
-- KEYS: the record.  ARGV: the request (`start`) that it must still hold; empty for any.
-- Returns 1 where a record was deleted.
if redis.call('HEXISTS', KEYS[1], 'deleted') == 1 then return 0 end
if ARGV[1] ~= '' and redis.call('HGET', KEYS[1], 'start') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
