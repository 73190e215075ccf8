import { defineScript, type RedisReply } from '../../../clients/redis.js';
import { DELAYED_LUA } from './delayed-member.js';
import type { ScriptRunner } from './runner.js';

/**
 * Moves messages whose time has come to the back of their lists, for every queue, whoever consumes it. Any number of
 * workers may run it at once: a script runs alone, so each message moves once.
 *
 * KEYS  1 lovage:delayed, 2 lovage:delayed-tasks
 * ARGV  1 global prefix, 2 how many to move at most
 * Reply list: how many were moved, milliseconds until the next is due (-1: none waits)
 *
 * ZREM first: it is the write that Redis allows when its memory is full (see renew.ts), and a refused push puts the
 * message back a minute later instead of losing it.
 */
const script = defineScript(`
${DELAYED_LUA}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local left, moved = tonumber(ARGV[2]), 0
local queues = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100)
for _, queue in ipairs(queues) do
  local key = KEYS[1] .. ':' .. queue
  local rows = left > 0 and redis.call('ZRANGEBYSCORE', key, '-inf', now, 'WITHSCORES', 'LIMIT', 0, left) or {}
  left = left - #rows / 2
  for i = 1, #rows, 2 do
    local member = rows[i]
    local list, _, envelope = headOf(member)
    redis.call('ZREM', key, member)
    forget(KEYS[2], member, rows[i + 1], queue)
    local pushed = redis.pcall('LPUSH', ARGV[1] .. list, envelope)
    if type(pushed) == 'table' and pushed.err then
      redis.call('ZADD', key, now + 60000, member)
    else
      moved = moved + 1
    end
  end
  local head = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if head[2] then redis.call('ZADD', KEYS[1], head[2], queue) else redis.call('ZREM', KEYS[1], queue) end
end
local next = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return { moved, next[2] and math.max(0, math.ceil(next[2] - now)) or -1 }
`);

/** How many were moved, and in how many milliseconds the next is due. */
export async function promote(
  runner: ScriptRunner,
  keys: { readonly delayed: string; readonly delayedTasks: string; readonly prefix: string },
  limit: number,
): Promise<{ readonly moved: number; readonly nextInMs: number | null }> {
  const [moved, nextInMs] = (await runner.run(script, [
    script.sha,
    '2',
    keys.delayed,
    keys.delayedTasks,
    keys.prefix,
    String(limit),
  ])) as RedisReply[] as number[];
  return { moved: moved as number, nextInMs: (nextInMs as number) < 0 ? null : (nextInMs as number) };
}
