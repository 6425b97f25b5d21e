-- A record, for its owner alone: nothing of another tenant's is read, however large it is.
-- KEYS[1]: the record.  ARGV: the tenant; the most bytes that are wanted (0: any).
-- Returns {what, bytes, start, response, ancestors}, where `what` is 'none', 'deleted', 'foreign', 'large' or 'found'.
-- Records of earlier versions name their tenant in the start alone: 'unknown' instead of 'found'.
local record, tenant, most = KEYS[1], ARGV[1], tonumber(ARGV[2])
if redis.call('HEXISTS', record, 'deleted') == 1 then return {'deleted'} end
local owner = redis.call('HGET', record, 'tenant')
if owner and owner ~= tenant then return {'foreign'} end
local bytes = redis.call('HSTRLEN', record, 'start')
if bytes == 0 then return {'none'} end
bytes = bytes + redis.call('HSTRLEN', record, 'response')
if owner and most > 0 and bytes > most then return {'large', bytes} end
local fields = redis.call('HMGET', record, 'start', 'response', 'ancestors')
return {owner and 'found' or 'unknown', bytes, fields[1], fields[2], fields[3]}
