-- KEYS: the session, the event. ARGV: the event. 1, or 0 where the session was not there.
if redis.call('DEL', KEYS[1]) == 0 then
  return 0
end
redis.call('SET', KEYS[2], ARGV[1])
return 1
