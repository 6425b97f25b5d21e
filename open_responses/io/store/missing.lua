-- Which of these records are not there. A tombstone is no record.
-- ARGV: the records' keys, with a comma between.  Returns their numbers, from 1.
local missing, number = {}, 0
for record in string.gmatch(ARGV[1], '[^,]+') do
  number = number + 1
  if redis.call('HEXISTS', record, 'start') == 0 then missing[#missing + 1] = number end
end
return missing
