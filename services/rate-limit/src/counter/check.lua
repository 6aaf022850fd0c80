-- Decides all checks of a request at once: takes the units of all checks, or none if one check is refused.
--
-- KEYS[i]   one per check: a list of times, oldest first (log), or the time when all units are free again (gcra)
-- ARGV[1]   take | peek (decides and takes nothing) | refund (undoes an earlier take)
-- ARGV[2]   now in microseconds; empty in production, which uses the clock of this server
-- ARGV[3..] four per check:
--           log, limit, window in us, cost        gcra, burst, interval in us, cost
--           with refund the time that take answered is in the place of limit or burst
-- Answer    five per check: allowed (0 or 1), remaining, reset after (us), retry after (us), time at which units were taken (us)
--
-- Times are integers below 2^53, which a double represents exactly. They are printed with %.0f, because tostring would round them.

local mode = ARGV[1]
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call("TIME")
  now = time[1] * 1000000 + time[2]
end

local function text(number)
  return string.format("%.0f", number)
end

local function check(i)
  local at = 3 + (i - 1) * 4
  return {
    key = KEYS[i],
    algorithm = ARGV[at],
    size = tonumber(ARGV[at + 1]),
    span = tonumber(ARGV[at + 2]),
    cost = tonumber(ARGV[at + 3]),
  }
end

local log, gcra = {}, {}

-- The tests compare these functions with window.rs.
function log.peek(c)
  local newest = tonumber(redis.call("LINDEX", c.key, -1))
  -- If the clock stepped back, the time of the newest unit is used until the clock has passed it.
  c.now = math.max(now, newest or 0)
  c.used = 0
  if newest then
    local oldest = tonumber(redis.call("LINDEX", c.key, 0))
    while oldest and oldest + c.span <= c.now do
      redis.call("LPOP", c.key)
      oldest = tonumber(redis.call("LINDEX", c.key, 0))
    end
    c.used = redis.call("LLEN", c.key)
  end
  c.reset = c.used > 0 and newest + c.span - c.now or 0
  local missing = c.used + math.max(c.cost, 1) - c.size
  c.allowed = missing <= 0
  c.retry = 0
  if not c.allowed then
    local frees = redis.call("LINDEX", c.key, missing - 1)
    c.retry = frees and math.max(frees + c.span - c.now, 0) or 0
  end
  c.remaining = math.max(c.size - c.used, 0)
end

function log.take(c)
  for _ = 1, c.cost do
    redis.call("RPUSH", c.key, text(c.now))
  end
  redis.call("PEXPIRE", c.key, text(math.ceil(c.span / 1000)))
  c.remaining = c.size - c.used - c.cost
  c.reset = c.span
end

function log.refund(c)
  redis.call("LREM", c.key, -c.cost, text(c.size))
end

-- The tests compare these functions with gcra.rs.
function gcra.peek(c)
  c.now = now
  c.free = math.max(tonumber(redis.call("GET", c.key) or 0), now)
  local ahead, tolerance = c.free - now, c.span * c.size
  c.reset = ahead
  c.retry = math.max(ahead + c.span * math.max(c.cost, 1) - tolerance, 0)
  c.allowed = c.retry == 0
  c.remaining = math.floor(math.max(tolerance - ahead, 0) / c.span)
end

function gcra.store(c, free)
  if free <= now then
    redis.call("DEL", c.key)
  else
    redis.call("SET", c.key, text(free), "PX", text(math.ceil((free - now) / 1000)))
  end
end

function gcra.take(c)
  local free = c.free + c.span * c.cost
  gcra.store(c, free)
  c.reset = free - now
  c.remaining = math.floor((c.span * c.size - c.reset) / c.span)
end

function gcra.refund(c)
  gcra.store(c, tonumber(redis.call("GET", c.key) or 0) - c.span * c.cost)
end

local algorithms = { log = log, gcra = gcra }

if mode == "refund" then
  for i = 1, #KEYS do
    local c = check(i)
    if c.cost > 0 then
      algorithms[c.algorithm].refund(c)
    end
  end
  return {}
end

local checks, all = {}, true
for i = 1, #KEYS do
  local c = check(i)
  algorithms[c.algorithm].peek(c)
  all = all and c.allowed
  checks[i] = c
end

local answer = {}
for _, c in ipairs(checks) do
  if mode == "take" and all and c.cost > 0 then
    algorithms[c.algorithm].take(c)
  end
  for _, value in ipairs({ c.allowed and 1 or 0, c.remaining, c.reset, c.retry, c.now }) do
    answer[#answer + 1] = value
  end
end
return answer
