-- KEYS: the tenants. ARGV: which, what it is expected to be, what it is to be. Whether it was.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
