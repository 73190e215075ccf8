import { defineScript, type RedisConnection } from '../../../clients/redis.js';
import type { SendKeySwap } from '../../../core/send-keys.js';

/**
 * Changes a dedupe key if what stands there is as expected.
 *
 * KEYS  1 the key
 * ARGV  1 what must stand there, 2 what shall stand there from now on ('' = nothing, for both), 3 for how long (ms)
 * Reply nil when it was changed, else what stands there ('' = nothing)
 */
const script = defineScript(`
local there = redis.call('GET', KEYS[1]) or ''
if there ~= ARGV[1] then return there end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return false
`);

/** `null`: changed. Otherwise what stands there. */
export async function swap(
  connection: RedisConnection,
  key: string,
  { expected, value, ttlMs }: SendKeySwap,
): Promise<string | null> {
  const args = [script.sha, '1', key, expected ?? '', value ?? '', String(Math.max(1, Math.ceil(ttlMs)))];
  const reply = await connection.run(script, args);
  return reply === null ? null : String(reply);
}
