/**
 * What happens in Redis for schedules, a script each. Keys of an app, behind `lovage:beat:<app>:`: `entries` (hash: id → revision, `p` or
 * `-` for paused, definition), `states` (hash: id → number, state), `changes` (sorted set: id by version, the newest 1,000), `requests`
 * (hash: request → entry) and `lead` (hash: owner, epoch, version, horizon). No clock is read.
 */
import { defineScript } from '../../../clients/redis.js';

/**
 * KEYS  1 entries, 2 states, 3 changes, 4 requests, 5 lead
 * ARGV  1 channel, 2 most entries, 3 most requests, 4 most changes, then for each change five: kind, id, expect ('' = any),
 *       definition or request, 'p' or '-'
 * Reply for each: done, conflict, missing, full
 */
export const changeScript = defineScript(`
local reply, any = {}, false
local function note(id)
  local version = redis.call('HINCRBY', KEYS[5], 'version', 1)
  redis.call('ZADD', KEYS[3], version, id)
  if redis.call('ZCARD', KEYS[3]) > tonumber(ARGV[4]) then
    local oldest = redis.call('ZPOPMIN', KEYS[3])
    redis.call('HSET', KEYS[5], 'horizon', oldest[2])
  end
  return version
end
for at = 5, #ARGV, 5 do
  local kind, id, expect, text, flag = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local entry = redis.call('HGET', KEYS[1], id)
  local revision = entry and string.match(entry, '^(%d+)') or '0'
  local answer = 'done'
  if kind ~= 'put' and not entry then answer = 'missing'
  elseif expect ~= '' and expect ~= revision then answer = 'conflict'
  elseif kind == 'run' then
    if redis.call('HLEN', KEYS[4]) >= tonumber(ARGV[3]) then answer = 'full'
    else
      redis.call('HSET', KEYS[4], text, id)
      redis.call('HINCRBY', KEYS[5], 'version', 1)
    end
  elseif kind == 'remove' then
    note(id)
    redis.call('HDEL', KEYS[1], id)
    redis.call('HDEL', KEYS[2], id)
    local wanted = redis.call('HGETALL', KEYS[4])
    for n = 1, #wanted, 2 do if wanted[n + 1] == id then redis.call('HDEL', KEYS[4], wanted[n]) end end
  elseif not entry and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[2]) then answer = 'full'
  else redis.call('HSET', KEYS[1], id, string.format('%d', note(id)) .. flag .. text) end
  if answer == 'done' then any = true end
  reply[#reply + 1] = answer
end
if any then redis.call('PUBLISH', ARGV[1], 'news') end
return reply
`);

/**
 * KEYS  1 entries, 2 states, 3 changes, 4 requests, 5 lead
 * ARGV  1 version
 * Reply nil (load all), or version, requests as a flat list, then for each change: id, entry or nil, state or nil
 */
export const newsScript = defineScript(`
local since = tonumber(ARGV[1])
local version = tonumber(redis.call('HGET', KEYS[5], 'version') or 0)
if since < tonumber(redis.call('HGET', KEYS[5], 'horizon') or 0) or since > version then return false end
local reply = {version, redis.call('HGETALL', KEYS[4])}
for _, id in ipairs(redis.call('ZRANGE', KEYS[3], string.format('(%d', since), '+inf', 'BYSCORE')) do
  reply[#reply + 1] = id
  reply[#reply + 1] = redis.call('HGET', KEYS[1], id)
  reply[#reply + 1] = redis.call('HGET', KEYS[2], id)
end
return reply
`);

/**
 * KEYS  1 entries, 2 states, 3 requests, 4 lead, then for each message the set of its binding and its list
 * ARGV  1 epoch, then for each firing six: id, revision, number, state, request ('' = none), how many messages, and for each of these:
 *       place of its first key, binding, envelope
 * Reply nil (it does not lead), or for each firing 1 (done), 0 (stale), or an error
 *
 * A refused push (the memory is full) can only be the first write of a script, so what is pushed is never half of a decision: from the
 * first write on Redis lets a script finish.
 */
export const fireScript = defineScript(`
local owner = redis.call('HMGET', KEYS[4], 'owner', 'epoch')
if not owner[1] or owner[1] == '' or owner[2] ~= ARGV[1] then return false end
local reply, at = {}, 2
while at <= #ARGV do
  local id, revision, seq, state, request, count = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], tonumber(ARGV[at + 5])
  local entry, old = redis.call('HGET', KEYS[1], id), redis.call('HGET', KEYS[2], id)
  local fits = entry and string.match(entry, '^(%d+)') == revision and (old and string.match(old, '^(%d+)') or '0') == seq
  if fits and request ~= '' then fits = redis.call('HDEL', KEYS[3], request) == 1 end
  if fits then
    redis.call('HSET', KEYS[2], id, string.format('%d', tonumber(seq) + 1) .. ':' .. state)
    for n = 0, count - 1 do
      local from = at + 6 + 3 * n
      local key = tonumber(ARGV[from])
      redis.call('SADD', KEYS[key], ARGV[from + 1])
      redis.call('LPUSH', KEYS[key + 1], ARGV[from + 2])
    end
  end
  reply[#reply + 1] = fits and 1 or 0
  at = at + 6 + 3 * count
end
return reply
`);

/**
 * KEYS  1 lead
 * ARGV  1 channel, 2 epoch as seen, 3 owner, or '' to give it back, 4 the owner who must have it, or '' for anybody
 * Reply owner, epoch
 */
export const leadScript = defineScript(`
local now = redis.call('HMGET', KEYS[1], 'owner', 'epoch')
local owner, epoch = now[1] or '', tonumber(now[2] or 0)
if epoch == tonumber(ARGV[2]) and (ARGV[4] == '' or ARGV[4] == owner) then
  owner = ARGV[3]
  if owner ~= '' then epoch = epoch + 1 end
  redis.call('HSET', KEYS[1], 'owner', owner, 'epoch', string.format('%d', epoch))
  redis.call('PUBLISH', ARGV[1], 'lead ' .. string.format('%d', epoch) .. ' ' .. owner)
end
return {owner, epoch}
`);
