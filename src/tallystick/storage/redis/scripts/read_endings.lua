-- KEYS: the log of endings. ARGV: the server that the place is of, the entry after which to read there, how many. Which
-- server this is, and entries: after that one, or where the server is another, from the beginning.
local info = redis.call('INFO', 'replication')
if not string.find(info, 'role:master') then
  return redis.error_reply('READONLY a replica may not have seen the latest endings')
end
local server = string.match(info, 'master_replid:(%w+)')
local start = '-'
if server == ARGV[1] then
  start = '(' .. ARGV[2]
end
return {server, redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', ARGV[3])}
