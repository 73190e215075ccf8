import { defineScript, type RedisArg, type RedisReply } from '../../../clients/redis.js';
import type { RedisKeys } from '../keys.js';
import { flagOrText } from './requeue.js';
import type { ScriptRunner } from './runner.js';

/**
 * Ends dead letters: each goes into a list, or just goes. In one step, so an interruption neither doubles nor loses any.
 *
 * KEYS  1 lovage:dead, 2 lovage:dead:facts, 3 lovage:dead:index
 * ARGV  for each letter: id, list key or '', element or ''
 * Reply for each letter 1 (done), 0 (it is not there, nothing changed) or a text (the list refused it; the letter is still there)
 *
 * About the first ZREM see renew.ts. The push comes before the removal: a script that stops half way must not have
 * removed what it did not push.
 */
const script = defineScript(`
local reply = {}
redis.call('ZREM', KEYS[3], '')
for i = 1, #ARGV, 3 do
  local id, list, done = ARGV[i], ARGV[i + 1], 0
  if redis.call('HEXISTS', KEYS[1], id) == 1 then
    local pushed = list == '' or redis.pcall('LPUSH', list, ARGV[i + 2])
    if type(pushed) == 'table' and pushed.err then
      done = pushed.err
    else
      redis.call('HDEL', KEYS[1], id)
      done = 1
    end
  end
  if type(done) == 'number' then
    redis.call('HDEL', KEYS[2], id)
    redis.call('ZREM', KEYS[3], id)
  end
  reply[#reply + 1] = done
end
return reply
`);

export interface Unpark {
  readonly id: string;
  /** Key of the list; `null`: removed for good. */
  readonly list: string | null;
  readonly element: string;
}

/** For each letter whether it was there, or the text of Redis' refusal. */
export async function unpark(
  runner: ScriptRunner,
  keys: Pick<RedisKeys, 'dead' | 'deadFacts' | 'deadIndex'>,
  letters: readonly Unpark[],
): Promise<readonly (boolean | string)[]> {
  const args: RedisArg[] = [script.sha, '3', keys.dead, keys.deadFacts, keys.deadIndex];
  for (const { id, list, element } of letters) args.push(id, list ?? '', element);
  return ((await runner.run(script, args)) as RedisReply[]).map(flagOrText);
}
