import { defineScript, type RedisArg, type RedisReply } from '../../../clients/redis.js';
import type { RedisKeys } from '../keys.js';
import { flagOrText } from './requeue.js';
import type { ScriptRunner } from './runner.js';

/**
 * Moves held messages to the dead letters, in one step with the end of their hold. Dead letters have no expiry: they are
 * what could not run, and only a person may drop them.
 *
 * KEYS  1 unacked, 2 unacked_index, 3 lovage:dead (id → element), 4 lovage:dead:facts (id → JSON), 5 lovage:dead:index (ids, all of score 0)
 * ARGV  for each message: tag, id, facts, element
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
      redis.call('HSET', KEYS[4], id, ARGV[i + 2])
      redis.call('ZADD', KEYS[5], 0, id)
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
  /** JSON. */
  readonly facts: string;
  /** The list element, byte by byte. */
  readonly element: Buffer;
}

/** For each message whether it was held, or the text of Redis' refusal. */
export async function park(
  runner: ScriptRunner,
  keys: Pick<RedisKeys, 'unacked' | 'unackedIndex' | 'dead' | 'deadFacts' | 'deadIndex'>,
  messages: readonly Park[],
): Promise<readonly (boolean | string)[]> {
  const args: RedisArg[] = [script.sha, '5', keys.unacked, keys.unackedIndex, keys.dead, keys.deadFacts, keys.deadIndex];
  for (const { tag, id, facts, element } of messages) args.push(tag, id, facts, element);
  return ((await runner.run(script, args)) as RedisReply[]).map(flagOrText);
}
