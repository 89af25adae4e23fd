-- KEYS: the session. ARGV: nothing, or an instant at which it must be over. Its identity, or nil where it was not there.
local found = redis.call('HMGET', KEYS[1], 'i', 'x', 'a')
if not found[1] then
  return nil
end
if ARGV[1] and math.min(tonumber(found[2]), tonumber(found[3])) > tonumber(ARGV[1]) then
  return nil
end
redis.call('DEL', KEYS[1])
return found[1]
