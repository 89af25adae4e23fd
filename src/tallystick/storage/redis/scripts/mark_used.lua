-- KEYS: the session. ARGV: the expected line, how long to keep it (ms), used_at, expires_at. 1, or 0.
local found = redis.call('HMGET', KEYS[1], 'l', 'u')
if found[1] ~= ARGV[1] or found[2] ~= '' then
  return 0
end
redis.call('HSET', KEYS[1], 'u', ARGV[3], 'x', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
