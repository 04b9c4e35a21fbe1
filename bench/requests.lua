-- What wrk sends, and how it reports.  Told by the environment:
--   BENCH_HEAD         the request head; "{n}" in it is a number
--   BENCH_CHOICES      the number is a random one below this; 0 if not
--   BENCH_FIRST        the number counts up from here
--   BENCH_COUNT        so many numbers are sent, each once; 0 if it does not count
--   BENCH_CONNECTIONS  how many there are
--   BENCH_RENAMES      two names of a file, which has the other one at each request; "" if none
--   BENCH_BATCH        so many requests are sent at a time
--   BENCH_SEED         for random numbers
--   BENCH_GATHERS      1 if all connections are opened before the first of them is asked anything

local function setting(name) return tonumber(os.getenv("BENCH_" .. name)) end

local head = os.getenv("BENCH_HEAD")
local choices, count = setting("CHOICES"), setting("COUNT")
local one_name, other_name = os.getenv("BENCH_RENAMES"):match("^(.+)\n(.+)$")

local function numbered(number)
  return (head:gsub("{n}", string.format("%d", number)))
end

-- End the run as Ctrl+C does: now, with a report.
local function interrupt()
  wrk.thread:stop()
  local ffi = require("ffi")
  ffi.cdef("int getpid(void); int kill(int pid, int signal);")
  ffi.C.kill(ffi.C.getpid(), 2)
end

if choices > 0 then
  local heads, random = {}, math.random
  for i = 1, choices do heads[i] = numbered(i - 1) end
  math.randomseed(setting("SEED"))
  function request() return heads[random(choices)] end
elseif count > 0 then
  local before, after = head:match("^(.-){n}(.*)$")
  local format = string.format
  local n = setting("FIRST")
  local last = n + count
  local answered = last + setting("CONNECTIONS")
  -- wrk asks for one request before it begins, which it does not send.
  function request()
    n = n + 1
    if n <= last then return before .. format("%d", n - 1) .. after end
    -- A connection that asks for more than there is has all its answers, and is sent nothing.
    if n == answered then interrupt() end
    return ""
  end
elseif one_name then
  function request()
    if not os.rename(one_name, other_name) then os.rename(other_name, one_name) end
    return head
  end
else
  local requests = head:rep(setting("BATCH"))
  wrk.format = function() return requests end
end

if setting("GATHERS") > 0 then
  local waiting = setting("CONNECTIONS")
  function delay()
    waiting = waiting - 1
    return waiting < 0 and 0 or 1000
  end
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
