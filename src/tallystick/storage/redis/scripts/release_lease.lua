-- KEYS: a lease. ARGV: who says to have it. 1, or 0 where somebody else has it by now.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
