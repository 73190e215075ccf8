import { defineScript, type RedisArg, type RedisReply } from '../../../clients/redis.js';
import { DELAYED_LUA } from './delayed-member.js';
import { flagOrText } from './requeue.js';
import type { ScriptRunner } from './runner.js';

/**
 * Moves held messages to the delay store, in one step with the end of their hold.
 *
 * KEYS  1 unacked, 2 unacked_index, 3 lovage:delayed (queues by next due time), 4 lovage:delayed-tasks
 * ARGV  for each message: tag, queue, due time (ms), member of `lovage:delayed:<queue>` (see delayedMember), key of its losses if
 *       its tag is among them, else ''
 * Reply for each message 1 (done), 0 (no longer held, nothing changed) or a text (refused; it is still held)
 *
 * About the first ZREM see renew.ts.
 */
const script = defineScript(`
${DELAYED_LUA}
local reply = {}
redis.call('ZREM', KEYS[2], '')
for i = 1, #ARGV, 5 do
  local tag, queue, due, done = ARGV[i], ARGV[i + 1], ARGV[i + 2], 0
  if redis.call('HEXISTS', KEYS[1], tag) == 1 then
    local added = redis.pcall('ZADD', KEYS[3] .. ':' .. queue, due, ARGV[i + 3])
    if type(added) == 'table' and added.err then
      done = added.err
    else
      redis.call('ZADD', KEYS[3], 'LT', due, queue)
      remember(KEYS[4], ARGV[i + 3], due, queue)
      redis.call('HDEL', KEYS[1], tag)
      redis.call('ZREM', KEYS[2], tag)
      if ARGV[i + 4] ~= '' then redis.pcall('SREM', ARGV[i + 4], tag) end
      done = 1
    end
  end
  reply[#reply + 1] = done
end
return reply
`);

export interface Defer {
  readonly tag: string;
  readonly queue: string;
  readonly dueMs: number;
  readonly member: RedisArg;
  /** Key of the set of its losses, if it was secured. */
  readonly losses: string;
}

/** For each message whether it was held, or the text of Redis' refusal. */
export async function defer(
  runner: ScriptRunner,
  keys: { readonly unacked: string; readonly unackedIndex: string; readonly delayed: string; readonly delayedTasks: string },
  messages: readonly Defer[],
): Promise<readonly (boolean | string)[]> {
  const args: RedisArg[] = [script.sha, '4', keys.unacked, keys.unackedIndex, keys.delayed, keys.delayedTasks];
  for (const { tag, queue, dueMs, member, losses } of messages) args.push(tag, queue, String(dueMs), member, losses);
  return ((await runner.run(script, args)) as RedisReply[]).map(flagOrText);
}
