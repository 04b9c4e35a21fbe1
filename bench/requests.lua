-- What wrk sends, and how it reports.  Told by the environment:
--   BENCH_HEAD     the request head; "{n}" in it is a number
--   BENCH_CHOICES  the number is a random one below this; 0 if not
--   BENCH_FIRST    the number counts up from here; 0 if not
--   BENCH_BATCH    so many requests are sent at a time
--   BENCH_SEED     for random numbers

local function setting(name) return tonumber(os.getenv("BENCH_" .. name)) end

local head = os.getenv("BENCH_HEAD")
local choices, n = setting("CHOICES"), setting("FIRST")

local function numbered(number)
  return (head:gsub("{n}", string.format("%d", number)))
end

if choices > 0 then
  local heads, random = {}, math.random
  for i = 1, choices do heads[i] = numbered(i - 1) end
  math.randomseed(setting("SEED"))
  function request() return heads[random(choices)] end
elseif n > 0 then
  local before, after = head:match("^(.-){n}(.*)$")
  local format = string.format
  function request()
    n = n + 1
    return before .. format("%d", n) .. after
  end
else
  local requests = head:rep(setting("BATCH"))
  wrk.format = function() return requests end
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('bench-result: {"requests": %d, "bytes": %.0f, "seconds": %.6f, '
    .. '"p50": %d, "p99": %d, "p999": %d, "failures": {"connect": %d, "read": %d, '
    .. '"write": %d, "status": %d, "timeout": %d}}\n',
    summary.requests, summary.bytes, summary.duration / 1e6, latency:percentile(50),
    latency:percentile(99), latency:percentile(99.9), e.connect, e.read, e.write, e.status,
    e.timeout))
end
