-- gcra.rs, on the clock of Redis, so that all gateways count by one clock.
-- KEYS: name. ARGV: interval and window in microseconds, 1 to take or 0 to look.
-- Returns {granted, used or microseconds to wait}.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + interval
local ahead = full - now
if ahead > window then
    return {0, ahead - window}
end
if ARGV[3] == '1' then
    redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil(ahead / 1000))
end
return {1, math.ceil(ahead / interval)}
