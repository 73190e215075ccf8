import { defineScript, type RedisConnection } from '../../../clients/redis.js';
import type { Claim } from '../../result-store.js';

/**
 * Raises the epoch of a task before a redelivered message runs, or tells that its result is final.
 *
 * KEYS  1 lovage:epochs, 2 key of the meta, 3 lovage:epoch:<id>
 * ARGV  1 how long the epoch is kept (ms)
 * Reply the epoch, or the meta that is final
 *
 * lovage:epochs lives as long as the longest claim: while it is absent, a first delivery's result needs no look at its
 * own epoch (see write.ts).
 *
 * The HDEL removes nothing. Redis refuses HINCRBY as a script's first write when its memory is full, and lets a script
 * finish that has written before: what is to free the memory must not wait for it.
 */
const script = defineScript(`
local meta = redis.call('GET', KEYS[2])
if meta then
  local status = string.match(meta, '^{"status": ?"([^"\\\\]*)"')
  if not status then
    local fine, decoded = pcall(cjson.decode, meta)
    status = fine and type(decoded) == 'table' and decoded.status or ''
  end
  if status == 'SUCCESS' or status == 'FAILURE' or status == 'REVOKED' then return meta end
end
redis.call('HDEL', KEYS[3], '')
local epoch = redis.call('HINCRBY', KEYS[3], 'epoch', 1)
redis.call('PEXPIRE', KEYS[3], ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) end
return epoch
`);

export async function claim(
  connection: RedisConnection,
  keys: { readonly claims: string; readonly meta: string; readonly epoch: string },
  ttlMs: number,
): Promise<Claim> {
  const reply = await connection.run(script, [
    script.sha,
    '3',
    keys.claims,
    keys.meta,
    keys.epoch,
    String(Math.max(1, Math.ceil(ttlMs))),
  ]);
  return typeof reply === 'number' ? { epoch: reply } : { final: String(reply) };
}
