import { defineScript } from '../../../clients/redis.js';
import type { ScriptRunner } from './runner.js';

/**
 * Enters the tag of a held message among its losses before it is started: should its owner die, that counts. An owner that lives takes
 * it out again, with whatever it does next (requeue, defer, or the set's end).
 *
 * KEYS  1 unacked, 2 unacked_index, 3 set of its losses
 * ARGV  1 tag, 2 life of the set (s)
 * Reply 1 (done, or somebody else's key is in the way), 0 (no longer held, nothing changed)
 *
 * About the first ZREM see renew.ts. A hundred losses are more than anybody asks for.
 */
const script = defineScript(`
redis.call('ZREM', KEYS[2], '')
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
local count = redis.pcall('SCARD', KEYS[3])
if type(count) == 'number' then
  if count < 100 then redis.call('SADD', KEYS[3], ARGV[1]) end
  redis.call('EXPIRE', KEYS[3], ARGV[2])
end
return 1
`);

/** `false`: the message is not held under this tag any more. */
export async function secure(
  runner: ScriptRunner,
  keys: { readonly unacked: string; readonly unackedIndex: string },
  tag: string,
  losses: { readonly key: string; readonly ttlMs: number },
): Promise<boolean> {
  const ttl = String(Math.ceil(losses.ttlMs / 1_000));
  return (await runner.run(script, [script.sha, '3', keys.unacked, keys.unackedIndex, losses.key, tag, ttl])) === 1;
}
