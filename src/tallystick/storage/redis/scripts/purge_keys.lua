-- KEYS: the signing keys. ARGV: the sequences to delete. How many there were; but the newest always stays.
local newest = 0
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  newest = math.max(newest, tonumber(field))
end
local deleted = 0
for _, field in ipairs(ARGV) do
  if tonumber(field) ~= newest then
    deleted = deleted + redis.call('HDEL', KEYS[1], field)
  end
end
return deleted
