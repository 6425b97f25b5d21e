-- Counts one ended response in its tenant's usage of a day, once.
-- KEYS: 1 the tenant's counts of the day (hash: `{what}:{model}` -> count, `models` -> the number of models), 2 the tenants of
-- the day (set), 3 the responses of the day that are counted (set).
-- ARGV: the response's mark, tenant, model, the model that stands for all above the bound, the bound, seconds that counts
-- stay, seconds that marks stay, what and count ...
-- Returns 1 if it was counted now.
if redis.call('EXISTS', KEYS[3]) == 0 and redis.call('EXISTS', KEYS[2]) == 1 then
  -- The marks of this day have expired, so nothing shows which responses are in its counts.
  return 0
end
if redis.call('SADD', KEYS[3], ARGV[1]) == 0 then return 0 end
redis.call('EXPIRE', KEYS[3], ARGV[7])
redis.call('SADD', KEYS[2], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[6])
local model = ARGV[3]
if redis.call('HEXISTS', KEYS[1], 'responses:' .. model) == 0 then
  if tonumber(redis.call('HGET', KEYS[1], 'models') or '0') >= tonumber(ARGV[5]) then
    model = ARGV[4]
  else
    redis.call('HINCRBY', KEYS[1], 'models', 1)
  end
end
for i = 8, #ARGV, 2 do
  if ARGV[i + 1] ~= '0' then redis.call('HINCRBY', KEYS[1], ARGV[i] .. ':' .. model, ARGV[i + 1]) end
end
redis.call('EXPIRE', KEYS[1], ARGV[6])
return 1
