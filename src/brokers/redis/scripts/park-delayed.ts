import { defineScript, type RedisArg } from '../../../clients/redis.js';
import type { RedisKeys } from '../keys.js';
import { DELAYED_LUA } from './delayed-member.js';
import type { ScriptRunner } from './runner.js';

/**
 * Moves messages from the delay store to the dead letters.
 *
 * KEYS  1 lovage:delayed, 2 lovage:delayed-tasks, 3 lovage:dead, 4 lovage:dead:facts, 5 lovage:dead:index
 * ARGV  for each message: queue, member, then id, facts and element of its dead letter
 *
 * What is no longer there was parked or withdrawn by somebody else. About the first ZREM see renew.ts.
 */
const script = defineScript(`
${DELAYED_LUA}
redis.call('ZREM', KEYS[1], '')
for i = 1, #ARGV, 5 do
  local queue, member, id = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local key = KEYS[1] .. ':' .. queue
  local due = redis.call('ZSCORE', key, member)
  if due then
    redis.call('HSET', KEYS[3], id, ARGV[i + 4])
    redis.call('HSET', KEYS[4], id, ARGV[i + 3])
    redis.call('ZADD', KEYS[5], 0, id)
    redis.call('ZREM', key, member)
    forget(KEYS[2], member, due, queue)
    if redis.call('EXISTS', key) == 0 then redis.call('ZREM', KEYS[1], queue) end
  end
end
`);

export interface ParkDelayed {
  readonly queue: string;
  /** Of the delay set. */
  readonly member: Buffer;
  readonly id: string;
  /** JSON. */
  readonly facts: string;
  /** The list element, byte by byte. */
  readonly element: Buffer;
}

export async function parkDelayed(
  runner: ScriptRunner,
  keys: Pick<RedisKeys, 'delayed' | 'delayedTasks' | 'dead' | 'deadFacts' | 'deadIndex'>,
  messages: readonly ParkDelayed[],
): Promise<void> {
  const args: RedisArg[] = [script.sha, '5', keys.delayed, keys.delayedTasks, keys.dead, keys.deadFacts, keys.deadIndex];
  for (const { queue, member, id, facts, element } of messages) args.push(queue, member, id, facts, element);
  await runner.run(script, args);
}
