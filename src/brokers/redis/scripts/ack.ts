import { defineScript, type RedisArg, type RedisReply } from '../../../clients/redis.js';
import type { ScriptRunner } from './runner.js';

/**
 * Removes held messages. A tag that is gone belongs to nobody's hold any more: it is reported, and nothing is changed.
 *
 * KEYS  1 unacked, 2 unacked_index
 * ARGV  tags
 * Reply nil when every tag was held; else a list of 1 (held) and 0 (lost)
 *
 * The hash goes first. Only when its count falls short is the index asked tag by tag, while it still knows.
 */
const script = defineScript(`
local tags, reply = ARGV, nil
for from = 1, #tags, 4000 do
  local to = math.min(from + 3999, #tags)
  local removed = redis.call('HDEL', KEYS[1], unpack(tags, from, to))
  if removed < to - from + 1 then
    if not reply then
      reply = {}
      for i = 1, #tags do reply[i] = 1 end
    end
    local scores = redis.call('ZMSCORE', KEYS[2], unpack(tags, from, to))
    for i = from, to do
      if not scores[i - from + 1] then reply[i] = 0 end
    end
  end
  redis.call('ZREM', KEYS[2], unpack(tags, from, to))
end
return reply or false
`);

/** `null`: all were held. Otherwise one flag a tag. */
export async function ack(
  runner: ScriptRunner,
  keys: { readonly unacked: string; readonly unackedIndex: string },
  tags: readonly string[],
): Promise<readonly boolean[] | null> {
  const args: RedisArg[] = [script.sha, '2', keys.unacked, keys.unackedIndex];
  for (const tag of tags) args.push(tag);
  const reply = (await runner.run(script, args)) as RedisReply[] | null;
  return reply === null ? null : reply.map((flag) => flag === 1);
}
