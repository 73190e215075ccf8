import { defineScript, type RedisArg, type RedisReply } from '../../../clients/redis.js';
import type { ScriptRunner } from './runner.js';

/**
 * Puts held messages back into their lists.
 *
 * KEYS  1 unacked, 2 unacked_index
 * ARGV  for each message: tag, list key, 'front' (served next: RPUSH) or 'back' (served last: LPUSH), envelope, key of its losses
 * Reply for each message 1 (done), 0 (no longer held) or a text (the list refused it; it is still held)
 *
 * Whoever asks here is alive, so what stands under this tag among the losses is taken back: it was secured, or it is gone because
 * somebody took it over, which counted. Nothing else changes when it is gone, and asking again changes nothing more.
 *
 * About the first ZREM see renew.ts. The push comes before the removal: a script that stops half way must not have
 * removed what it did not push.
 */
const script = defineScript(`
local reply = {}
redis.call('ZREM', KEYS[2], '')
for i = 1, #ARGV, 5 do
  local tag, done = ARGV[i], 0
  if redis.call('HEXISTS', KEYS[1], tag) == 1 then
    local pushed = redis.pcall(ARGV[i + 2] == 'front' and 'RPUSH' or 'LPUSH', ARGV[i + 1], ARGV[i + 3])
    if type(pushed) == 'table' and pushed.err then
      done = pushed.err
    else
      redis.call('HDEL', KEYS[1], tag)
      redis.call('ZREM', KEYS[2], tag)
      done = 1
    end
  end
  if type(done) == 'number' then redis.pcall('SREM', ARGV[i + 4], tag) end
  reply[#reply + 1] = done
end
return reply
`);

export interface Requeue {
  readonly tag: string;
  /** Key of the list. */
  readonly list: string;
  readonly where: 'front' | 'back';
  readonly envelope: RedisArg;
  /** Key of the set of its losses. */
  readonly losses: string;
}

/** For each message whether it was held, or the text of Redis' refusal. */
export async function requeue(
  runner: ScriptRunner,
  keys: { readonly unacked: string; readonly unackedIndex: string },
  messages: readonly Requeue[],
): Promise<readonly (boolean | string)[]> {
  const args: RedisArg[] = [script.sha, '2', keys.unacked, keys.unackedIndex];
  for (const { tag, list, where, envelope, losses } of messages) args.push(tag, list, where, envelope, losses);
  return ((await runner.run(script, args)) as RedisReply[]).map(flagOrText);
}

/** 1 → true, 0 → false, text → itself. */
export function flagOrText(reply: RedisReply): boolean | string {
  return Buffer.isBuffer(reply) ? reply.toString() : reply === 1;
}
