-- KEYS: the log of endings. ARGV: how long to keep one (ms), and endings. The entries' own times are the server's.
local time = redis.call('TIME')
local oldest = string.format('%.0f', math.max(0, time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[1])))
for at = 2, #ARGV do
  redis.call('XADD', KEYS[1], 'MINID', '~', oldest, '*', 'e', ARGV[at])
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return 1
