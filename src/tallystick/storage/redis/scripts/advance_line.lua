-- KEYS: the session. ARGV: the expected line, how long to keep it (ms), then fields and values. 1, or 0.
if redis.call('HGET', KEYS[1], 'l') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
