-- KEYS: the session. ARGV: now, the field, its new text and, if given, the text that is expected. 1, or 0.
local found = redis.call('HMGET', KEYS[1], 'x', 'a', ARGV[2])
local now = tonumber(ARGV[1])
if not found[1] or tonumber(found[1]) <= now or tonumber(found[2]) <= now then
  return 0
end
if ARGV[4] and found[3] ~= ARGV[4] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
return 1
