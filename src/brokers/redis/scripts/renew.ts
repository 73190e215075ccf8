import { defineScript, type RedisArg, type RedisReply } from '../../../clients/redis.js';
import type { ScriptRunner } from './runner.js';

/**
 * Moves the lease of held messages into the future, and tells which of them are no longer there.
 *
 * KEYS  1 unacked_index
 * ARGV  1 lease (s), 2… tags
 * Reply nil when every tag was there; else the numbers (from 1) of the tags that are gone
 *
 * The first ZREM removes nothing. Redis refuses ZADD as a script's first write when its memory is full; after any other
 * write it lets a script finish, and a full server must not end our leases.
 */
const script = defineScript(`
local time = redis.call('TIME')
local score = string.format('%.3f', time[1] + time[2] / 1000000 + ARGV[1])
redis.call('ZREM', KEYS[1], '')
local gone = nil
for from = 2, #ARGV, 2000 do
  local to = math.min(from + 1999, #ARGV)
  local scores = redis.call('ZMSCORE', KEYS[1], unpack(ARGV, from, to))
  local args = {}
  for i = from, to do
    if scores[i - from + 1] then
      args[#args + 1] = score
      args[#args + 1] = ARGV[i]
    else
      gone = gone or {}
      gone[#gone + 1] = i - 1
    end
  end
  if #args > 0 then redis.call('ZADD', KEYS[1], 'XX', unpack(args)) end
end
return gone or false
`);

/** Positions in `tags` that are gone. */
export async function renew(
  runner: ScriptRunner,
  unackedIndex: string,
  leaseMs: number,
  tags: readonly string[],
): Promise<readonly number[]> {
  const args: RedisArg[] = [script.sha, '1', unackedIndex, String(leaseMs / 1_000)];
  for (const tag of tags) args.push(tag);
  const reply = (await runner.run(script, args)) as RedisReply[] | null;
  return reply === null ? [] : reply.map((position) => (position as number) - 1);
}
