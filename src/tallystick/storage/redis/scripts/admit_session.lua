-- KEYS: a user's sessions. ARGV: the four of index_session; how many there may be; 1 where the oldest make room for the
-- new one, else 0; and the handles that do not count. Those for which there is no room, oldest first, which stay here
-- until they are deleted; or nil, and nothing was done.
local uncounted = {}
for at = 7, #ARGV do
  uncounted[ARGV[at]] = true
end
local others = {}
for _, handle in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if not uncounted[handle] and handle ~= ARGV[2] then
    others[#others + 1] = handle
  end
end
local over = {}
for at = 1, #others + 1 - tonumber(ARGV[5]) do
  over[at] = others[at]
end
if #over > 0 and ARGV[6] == '0' then
  return nil
end
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[4])
return over
