-- How long these records are together, in bytes: starts and final responses. One that is not there counts as none.
-- ARGV: the records' keys, with a comma between.
local bytes = 0
for record in string.gmatch(ARGV[1], '[^,]+') do
  bytes = bytes + redis.call('HSTRLEN', record, 'start') + redis.call('HSTRLEN', record, 'response')
end
return bytes
