-- The limits of one API key, shared by all processes.
-- KEYS: requests and tokens of the last minute (hashes: Unix second -> count), running responses (sorted set: response id ->
-- when its lease ends, in milliseconds), tokens spent in this period (a string).
-- ARGV: what, then what it says below. A limit of 0 is none.
local WINDOW, DOUBT = 60, 30000
local time = redis.call('TIME')
local second = tonumber(time[1])
local now = second * 1000 + math.floor(time[2] / 1000)

-- The sum of the last minute and its seconds, oldest first.
local function window(key)
  local total, seconds, flat = 0, {}, redis.call('HGETALL', key)
  for i = 1, #flat, 2 do
    local at, count = tonumber(flat[i]), tonumber(flat[i + 1])
    if at > second - WINDOW then
      total = total + count
      table.insert(seconds, {at, count})
    else
      redis.call('HDEL', key, flat[i])
    end
  end
  table.sort(seconds, function(a, b) return a[1] < b[1] end)
  return total, seconds
end

-- Milliseconds until what was counted in that second leaves the window.
local function left(at) return (at + WINDOW) * 1000 - now end

-- Milliseconds until `more` fits; -1 if it never does.
local function wait(limit, total, seconds, more)
  local over = total + more - limit
  if limit == 0 or over <= 0 then return 0 end
  for _, counted in ipairs(seconds) do
    over = over - counted[2]
    if over <= 0 then return left(counted[1]) end
  end
  return -1
end

local function count(key, at, amount)
  redis.call('HINCRBY', key, at, amount)
  redis.call('EXPIRE', key, 2 * WINDOW)
end

-- ARGV: response id, tokens that it used, estimated tokens, the second that these were counted in, days to keep the budget's
-- count. Once only: a response that is not among the running ones has been settled. Second 0: it never was among them.
if ARGV[1] == 'settle' then
  if redis.call('ZREM', KEYS[3], ARGV[2]) == 0 and ARGV[5] ~= '0' then return 0 end
  local used, more = tonumber(ARGV[3]), tonumber(ARGV[3]) - tonumber(ARGV[4])
  if more > 0 then
    count(KEYS[2], second, more)
  elseif more < 0 and redis.call('HEXISTS', KEYS[2], ARGV[5]) == 1 then
    count(KEYS[2], ARGV[5], more)
  end
  if used > 0 then
    redis.call('INCRBY', KEYS[4], used)
    redis.call('EXPIRE', KEYS[4], ARGV[6] * 86400)
  end
  return 1
end

-- ARGV: response id, milliseconds. It still runs; with 0, that is to be found out.
if ARGV[1] == 'renew' then
  redis.call('ZADD', KEYS[3], 'XX', now + ARGV[3], ARGV[2])
  return 1
end

-- "admit" or "look" (which counts nothing). ARGV: response id, estimated tokens, milliseconds of a lease, limits of requests,
-- tokens, running responses, and of the budget.
-- Returns: what refused (0 nothing, 1 requests, 2 tokens, 3 running, 4 budget), milliseconds to wait (-1: no wait helps),
-- requests, milliseconds until they are all forgotten, the same for tokens, tokens spent, this second, and ids of running
-- responses whose lease has ended: whoever reads this finds out whether they still run.
local id, estimate, lease = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local requests, request_seconds = window(KEYS[1])
local tokens, token_seconds = window(KEYS[2])
local spent = tonumber(redis.call('GET', KEYS[4]) or '0')
local is_new = redis.call('ZSCORE', KEYS[3], id) == false
local doubtful = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 20)
for _, one in ipairs(doubtful) do redis.call('ZADD', KEYS[3], now + DOUBT, one) end

local refused, waiting = 0, 0
if ARGV[1] == 'admit' then
  local concurrent, budget = tonumber(ARGV[7]), tonumber(ARGV[8])
  local for_requests = wait(tonumber(ARGV[5]), requests, request_seconds, 1)
  local for_tokens = wait(tonumber(ARGV[6]), tokens, token_seconds, estimate)
  if budget > 0 and spent >= budget then
    refused, waiting = 4, -1
  elseif for_requests ~= 0 then
    refused, waiting = 1, for_requests
  elseif for_tokens ~= 0 then
    refused, waiting = 2, for_tokens
  elseif concurrent > 0 and is_new and redis.call('ZCARD', KEYS[3]) >= concurrent then
    refused, waiting = 3, 0
  else
    requests, tokens = requests + 1, tokens + estimate
    count(KEYS[1], second, 1)
    if estimate > 0 then count(KEYS[2], second, estimate) end
    table.insert(request_seconds, {second, 1})
    table.insert(token_seconds, {second, estimate})
    redis.call('ZADD', KEYS[3], now + lease, id)
    -- A response may run for weeks; its lease is looked after for as long as the key is used.
    redis.call('EXPIRE', KEYS[3], 30 * 86400)
  end
end

local function reset(seconds) return #seconds == 0 and 0 or left(seconds[#seconds][1]) end
return {
  refused, waiting, requests, reset(request_seconds), tokens, reset(token_seconds), spent, second,
  unpack(doubtful),
}
