import { defineScript } from '../../../clients/redis.js';
import type { RedisKeys } from '../keys.js';
import { DELAYED_LUA } from './delayed-member.js';
import type { ScriptRunner } from './runner.js';

/**
 * Moves messages whose time has come to the back of their lists, for every queue, whoever consumes it. Any number of
 * workers may run it at once: a script runs alone, so each message moves once.
 *
 * KEYS  1 lovage:delayed, 2 lovage:delayed-tasks
 * ARGV  1 global prefix, 2 how many to move at most
 * Reply list: how many were moved, milliseconds until the next is due (-1: none waits), then for each message whose list refused it:
 *       queue, member, refusal. Those stay, and come again in a minute if nobody parks them.
 *
 * ZREM first: it is the write that Redis allows when its memory is full (see renew.ts). A delay set that is a key of another kind
 * holds nothing of ours, and must not keep other queues waiting.
 */
const script = defineScript(`
${DELAYED_LUA}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local left, moved, refused = tonumber(ARGV[2]), 0, {}
local queues = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100)
for _, queue in ipairs(queues) do
  local key = KEYS[1] .. ':' .. queue
  local rows = left > 0 and redis.pcall('ZRANGEBYSCORE', key, '-inf', now, 'WITHSCORES', 'LIMIT', 0, left) or {}
  if rows.err then
    redis.call('ZREM', KEYS[1], queue)
  else
    left = left - #rows / 2
    for i = 1, #rows, 2 do
      local member = rows[i]
      local list, _, envelope = headOf(member)
      redis.call('ZREM', key, member)
      forget(KEYS[2], member, rows[i + 1], queue)
      local pushed = redis.pcall('LPUSH', ARGV[1] .. list, envelope)
      if type(pushed) == 'table' and pushed.err then
        local again = string.format('%.0f', now + 60000)
        redis.call('ZADD', key, again, member)
        remember(KEYS[2], member, again, queue)
        for _, part in ipairs({ queue, member, pushed.err }) do refused[#refused + 1] = part end
      else
        moved = moved + 1
      end
    end
    local head = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if head[2] then redis.call('ZADD', KEYS[1], head[2], queue) else redis.call('ZREM', KEYS[1], queue) end
  end
end
local next = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return { moved, next[2] and math.max(0, math.ceil(next[2] - now)) or -1, unpack(refused) }
`);

/** A message that could not go to its list. */
export interface Refused {
  readonly queue: string;
  readonly member: Buffer;
  readonly reason: string;
}

export interface Promoted {
  readonly moved: number;
  /** In how many milliseconds the next is due; `null`: none waits. */
  readonly nextInMs: number | null;
  readonly refused: readonly Refused[];
}

export async function promote(
  runner: ScriptRunner,
  keys: Pick<RedisKeys, 'delayed' | 'delayedTasks' | 'prefix'>,
  limit: number,
): Promise<Promoted> {
  const args = [script.sha, '2', keys.delayed, keys.delayedTasks, keys.prefix, String(limit)];
  const [moved, nextInMs, ...parts] = (await runner.run(script, args)) as [number, number, ...Buffer[]];
  const refused: Refused[] = [];
  for (let at = 0; at < parts.length; at += 3) {
    const [queue, member, reason] = parts.slice(at, at + 3) as [Buffer, Buffer, Buffer];
    refused.push({ queue: queue.toString(), member, reason: reason.toString() });
  }
  return { moved, nextInMs: nextInMs < 0 ? null : nextInMs, refused };
}
