-- The limits of one API key, shared by all processes.
-- KEYS: 1 requests and 2 tokens of the last minute (hashes: Unix second -> count), 3 running responses (sorted set: response
-- id -> when its lease ends, in milliseconds), 4 tokens spent in this period (a string: what was used, and what running
-- responses have reserved), 5 reservations (hash: response id -> its part of the tokens spent, `{id}:in` -> the key of the
-- period that it is in; the same with `{id}:usd` for its cost), 6 sent (hash: response id -> tokens that it has used or sent to a
-- provider, at least, `{id}:usd` -> their cost, `{id}:out` -> the cost of a million tokens of output), 7 settled (sorted set:
-- response id -> when, in milliseconds), 8 tokens spent in the period in which the response was admitted, 9 and 10 as 4 and 8,
-- with the cost instead of tokens. Costs are in billionths of a US dollar.
-- ARGV: what, then what it says below. A limit of 0 is none.
local WINDOW, DOUBT = 60, 30000
-- A repeated settlement comes within minutes. A response may run for weeks, and a month's count is there for longer.
local SETTLED, RUNNING, PERIOD = 3600, 30 * 86400, 40 * 86400
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

local function spend(key, amount)
  -- A count that was lost with what it had reserved does not go below nothing.
  if amount < 0 and redis.call('EXISTS', key) == 0 then return end
  if amount ~= 0 then
    redis.call('INCRBY', key, amount)
    redis.call('EXPIRE', key, PERIOD)
  end
end

-- Gives the slot and the reservation back, to the period that it was made in.
local function free(id)
  redis.call('ZREM', KEYS[3], id)
  for field, period in pairs({[id] = KEYS[8], [id .. ':usd'] = KEYS[10]}) do
    local reserved = redis.call('HMGET', KEYS[5], field, field .. ':in')
    if reserved[1] then spend(reserved[2] or period, -tonumber(reserved[1])) end
    redis.call('HDEL', KEYS[5], field, field .. ':in')
  end
  redis.call('HDEL', KEYS[6], id, id .. ':usd', id .. ':out')
end

-- Sets the response's part of what is spent while it runs. The part stays in the period that it was first counted in.
local function reserve(key, field, amount)
  local reserved = redis.call('HMGET', KEYS[5], field, field .. ':in')
  key = reserved[2] or key
  spend(key, amount - tonumber(reserved[1] or '0'))
  redis.call('HSET', KEYS[5], field, amount, field .. ':in', key)
  redis.call('EXPIRE', KEYS[5], RUNNING)
end

-- What is spent in a period, without the part of this response.
local function spent_by_others(key, field)
  return tonumber(redis.call('GET', key) or '0') - tonumber(redis.call('HGET', KEYS[5], field) or '0')
end

-- Frees the response, and corrects the estimate of its tokens.
local function release(id, used, estimate, counted_at)
  free(id)
  local more = used - estimate
  if more > 0 then
    count(KEYS[2], second, more)
  elseif more < 0 and redis.call('HEXISTS', KEYS[2], counted_at) == 1 then
    count(KEYS[2], counted_at, more)
  end
end

-- ARGV: response id, estimated tokens, the second that these were counted in. It has not begun.
if ARGV[1] == 'withdraw' then
  if redis.call('ZSCORE', KEYS[3], ARGV[2]) then release(ARGV[2], 0, tonumber(ARGV[3]), ARGV[4]) end
  return 1
end

-- ARGV: response id, tokens that are known to be used, tokens of an answer that was cut off (-1: none was), estimated tokens,
-- the second that these were counted in, the known cost. Once only.
if ARGV[1] == 'settle' then
  local id, used, cut_off, cost = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[7])
  if cut_off >= 0 then
    local sent = redis.call('HMGET', KEYS[6], id, id .. ':usd', id .. ':out')
    used = math.max(used, tonumber(sent[1] or '0') + cut_off)
    cost = math.max(cost, tonumber(sent[2] or '0') + math.floor(cut_off * tonumber(sent[3] or '0') / 1000000))
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[7], '-inf', now - SETTLED * 1000)
  if redis.call('ZSCORE', KEYS[7], id) then
    free(id)
    return 0
  end
  if used > 0 then
    -- What has used nothing may not have begun: it may begin yet, and is counted then.
    redis.call('ZADD', KEYS[7], now, id)
    redis.call('EXPIRE', KEYS[7], 2 * SETTLED)
  end
  release(id, used, tonumber(ARGV[5]), ARGV[6])
  spend(KEYS[4], used)
  spend(KEYS[9], cost)
  return 1
end

-- ARGV: response id, tokens that it has used, their cost, its mark in 11 (the responses in the counts of usage), seconds since
-- it ended. After a loss of Redis, before its usage is counted again: whatever that has is in the budget as well.
if ARGV[1] == 'recount' then
  local id = ARGV[2]
  if redis.call('SISMEMBER', KEYS[11], ARGV[5]) == 1 or redis.call('ZSCORE', KEYS[7], id) then return 0 end
  spend(KEYS[4], tonumber(ARGV[3]))
  spend(KEYS[9], tonumber(ARGV[4]))
  if tonumber(ARGV[6]) < SETTLED then
    -- Its end may still be written again.
    redis.call('ZADD', KEYS[7], now, id)
    redis.call('EXPIRE', KEYS[7], 2 * SETTLED)
  end
  return 1
end

-- ARGV: response id, tokens used by earlier model turns and sent with the next one, tokens that its answer may have, the
-- budget of tokens; the same three as costs, with the budget first, and the cost of a million tokens of output. Before each
-- model turn. Returns 4 or 5 (the number of what refuses it, as below) if a budget does not have what is to be sent, and
-- changes nothing then.
if ARGV[1] == 'charge' then
  local id, sent, cost = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[7])
  if redis.call('ZSCORE', KEYS[7], id) then return 0 end
  local budget, dollars = tonumber(ARGV[5]), tonumber(ARGV[6])
  if budget > 0 and spent_by_others(KEYS[8], id) + sent > budget then return 4 end
  if dollars > 0 and spent_by_others(KEYS[10], id .. ':usd') + cost > dollars then return 5 end
  if budget > 0 then reserve(KEYS[8], id, sent + tonumber(ARGV[4])) end
  if dollars > 0 then reserve(KEYS[10], id .. ':usd', cost + tonumber(ARGV[8])) end
  redis.call('HSET', KEYS[6], id, sent, id .. ':usd', cost, id .. ':out', ARGV[9])
  redis.call('EXPIRE', KEYS[6], RUNNING)
  return 0
end

-- ARGV: response id, milliseconds. Its lease lasts for so long; with 0, the next request finds out whether it still runs.
if ARGV[1] == 'renew' then
  redis.call('ZADD', KEYS[3], 'XX', now + ARGV[3], ARGV[2])
  return 1
end

-- ARGV: milliseconds, response ids that were let in while Redis was away. Those that have not ended have slots.
if ARGV[1] == 'adopt' then
  for i = 3, #ARGV do
    if not redis.call('ZSCORE', KEYS[7], ARGV[i]) then redis.call('ZADD', KEYS[3], 'NX', now + ARGV[2], ARGV[i]) end
  end
  redis.call('EXPIRE', KEYS[3], RUNNING)
  return 1
end

-- "admit" or "look" (which counts nothing). ARGV: response id, estimated tokens, milliseconds of a lease, limits of requests,
-- tokens, running responses, and of the budget; tokens that the answer may have; the budget of costs, the estimated cost of
-- what is sent, and that of the answer.
-- Returns: what refused (0 nothing, 1 requests, 2 tokens, 3 running, 4 budget, 5 the budget of costs), milliseconds to wait
-- (-1: no wait helps), requests, milliseconds until they are all forgotten, the same for tokens, tokens spent, this second, the
-- number of running responses, the cost spent, and ids of those whose lease has ended: the caller finds out whether they still
-- run.
local id, estimate, lease = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local requests, request_seconds = window(KEYS[1])
local tokens, token_seconds = window(KEYS[2])
local spent, spent_cost = tonumber(redis.call('GET', KEYS[4]) or '0'), tonumber(redis.call('GET', KEYS[9]) or '0')
local is_new = redis.call('ZSCORE', KEYS[3], id) == false
local doubtful = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 20)
for _, one in ipairs(doubtful) do redis.call('ZADD', KEYS[3], now + DOUBT, one) end

local refused, waiting = 0, 0
if ARGV[1] == 'admit' then
  local concurrent, budget, dollars, cost = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[10]), tonumber(ARGV[11])
  local for_requests = wait(tonumber(ARGV[5]), requests, request_seconds, 1)
  local for_tokens = wait(tonumber(ARGV[6]), tokens, token_seconds, estimate)
  if budget > 0 and (spent >= budget or spent + estimate > budget) then
    refused, waiting = 4, -1
  elseif dollars > 0 and (spent_cost >= dollars or spent_cost + cost > dollars) then
    refused, waiting = 5, -1
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
    -- Its lease is looked after for as long as the key is used.
    redis.call('EXPIRE', KEYS[3], RUNNING)
    if budget > 0 then reserve(KEYS[4], id, estimate + tonumber(ARGV[9])) end
    if dollars > 0 then reserve(KEYS[9], id .. ':usd', cost + tonumber(ARGV[12])) end
    -- The caller goes on from these numbers while Redis is away.
    spent, spent_cost = tonumber(redis.call('GET', KEYS[4]) or '0'), tonumber(redis.call('GET', KEYS[9]) or '0')
  end
end

local function reset(seconds) return #seconds == 0 and 0 or left(seconds[#seconds][1]) end
return {
  refused, waiting, requests, reset(request_seconds), tokens, reset(token_seconds), spent, second,
  redis.call('ZCARD', KEYS[3]), spent_cost,
  unpack(doubtful),
}
