import { defineScript } from '../../../clients/redis.js';

/**
 * Notes the end of a part, in Celery's layout, so that both languages count one chord (wire section 6.6).
 *
 * KEYS  1 .j (ends, by their place), 2 .t (parts that were added later), 3 .s (size), 4 .d (ids that have reported), 5 .c (closed),
 *       6 .b (body)
 * ARGV  1 place or '+inf', 2 the end as Celery writes it, 3 the task's id, 4 '1' if the chord fails by it, 5 how long it is kept (ms)
 * Reply 0 (open, closed or unknown), 1 (the chord has failed by this part), 2 (open, and nobody keeps its deadline), or all ends in order
 *
 * With the first failure .s goes: then no other part ends the chord, Python's neither, which look for .s. That part is marked in .d, so
 * that its next delivery goes on if its worker dies over it; the field without a name says that some part is.
 *
 * A part whose worker died before it was acknowledged comes again, perhaps with another result: its first one counts. If Python's
 * parts are among them, only the part of ours that completed the chord hears so again: where Python's did, that sends the body.
 * Python's parts report once and without .d. What Python's clients opened has no .b.
 */
export const chordReport = defineScript(`
if redis.call('EXISTS', KEYS[5]) == 1 then return 0 end
local isNew = redis.call('HSETNX', KEYS[4], ARGV[3], ARGV[4]) == 1
if isNew then redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2]) end
for i = 1, 4 do redis.call('PEXPIRE', KEYS[i], ARGV[5]) end
local mark = redis.call('HGET', KEYS[4], ARGV[3])
if mark == 'failed' then return 1 end
local size = redis.call('GET', KEYS[3])
if not size then return 0 end
if mark == '1' then
  redis.call('DEL', KEYS[3])
  redis.call('HSET', KEYS[4], ARGV[3], 'failed', '', '1')
  return 1
end
local added = redis.call('GET', KEYS[2])
if redis.call('ZCARD', KEYS[1]) < tonumber(size) + tonumber(added or 0) then
  return redis.call('EXISTS', KEYS[6]) == 1 and 0 or 2
end
if isNew then redis.call('HSET', KEYS[4], ARGV[3], 'last')
elseif mark ~= 'last' and redis.call('ZCARD', KEYS[1]) > redis.call('HLEN', KEYS[4]) then return 0 end
return redis.call('ZRANGE', KEYS[1], 0, -1)
`);
