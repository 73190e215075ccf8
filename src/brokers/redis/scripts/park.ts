import { defineScript, type RedisArg, type RedisReply } from '../../../clients/redis.js';
import { flagOrText } from './requeue.js';
import type { ScriptRunner } from './runner.js';

/**
 * Moves held messages to the dead letters, in one step with the end of their hold. Dead letters have no expiry: they are
 * what could not run, and only a person may drop them.
 *
 * KEYS  1 unacked, 2 unacked_index, 3 lovage:dead (id → JSON), 4 lovage:dead:index (id by time)
 * ARGV  for each message: tag, id, time (ms), JSON
 * Reply for each message 1 (done), 0 (no longer held, nothing changed) or a text (refused; it is still held)
 *
 * About the first ZREM see renew.ts.
 */
const script = defineScript(`
local reply = {}
redis.call('ZREM', KEYS[2], '')
for i = 1, #ARGV, 4 do
  local tag, id, done = ARGV[i], ARGV[i + 1], 0
  if redis.call('HEXISTS', KEYS[1], tag) == 1 then
    local stored = redis.pcall('HSET', KEYS[3], id, ARGV[i + 3])
    if type(stored) == 'table' and stored.err then
      done = stored.err
    else
      redis.call('ZADD', KEYS[4], ARGV[i + 2], id)
      redis.call('HDEL', KEYS[1], tag)
      redis.call('ZREM', KEYS[2], tag)
      done = 1
    end
  end
  reply[#reply + 1] = done
end
return reply
`);

export interface Park {
  readonly tag: string;
  readonly id: string;
  readonly atMs: number;
  readonly json: string;
}

/** For each message whether it was held, or the text of Redis' refusal. */
export async function park(
  runner: ScriptRunner,
  keys: { readonly unacked: string; readonly unackedIndex: string; readonly dead: string; readonly deadIndex: string },
  messages: readonly Park[],
): Promise<readonly (boolean | string)[]> {
  const args: RedisArg[] = [script.sha, '4', keys.unacked, keys.unackedIndex, keys.dead, keys.deadIndex];
  for (const { tag, id, atMs, json } of messages) args.push(tag, id, String(atMs), json);
  return ((await runner.run(script, args)) as RedisReply[]).map(flagOrText);
}
