import { defineScript, type RedisConnection, type RedisReply } from '../../../clients/redis.js';
import type { WriteResult } from '../../result-store.js';

/**
 * Writes results of one epoch and publishes each that it wrote: the channel is the key, as Celery's readers expect.
 *
 * KEYS  1 lovage:epochs (there while any claim is), 2… keys of the metas
 * ARGV  1 time to live (ms, '' = for ever), 2 epoch, 3 prefix of the epochs' keys, 4 length of the metas' prefix, 5… metas
 * Reply nil when all were stored; else for each 0 stored, 1 final, 2 fenced
 *
 * The fast path is SET NX: while nobody anywhere has claimed anything, an absent key cannot be fenced. Otherwise: SUCCESS
 * is never overwritten; a lower epoch than the claimed one is refused; another final state gives way only to SUCCESS or to
 * a higher epoch than it was written with, or if it is the REVOKED of who revoked it (see givesWay) to another final state.
 *
 * With its memory full Redis refuses SET as a script's first write, and lets a script finish that has written before. So
 * the HDEL, which removes nothing, lets a batch of small results through: the acknowledgements that follow free more than
 * they take, and without them a queue that has filled the memory could never be worked off. Big results wait for room.
 */
const script = defineScript(`
local ttl, epoch, base, skip = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]) + 1
local plain = epoch == 0 and redis.call('EXISTS', KEYS[1]) == 0
local reply = nil
local bytes = 0
for i = 5, #ARGV do bytes = bytes + #ARGV[i] end
if bytes <= 1024 * (#ARGV - 4) then redis.call('HDEL', base, '') end

local function statusOf(meta)
  local status = string.match(meta, '^{"status": ?"([^"\\\\]*)"')
  if status then return status end
  local fine, decoded = pcall(cjson.decode, meta)
  return fine and type(decoded) == 'table' and decoded.status or ''
end

local function store(key, meta, mode)
  local done
  if ttl == '' then
    done = mode and redis.call('SET', key, meta, mode) or not mode and redis.call('SET', key, meta)
  else
    done = mode and redis.call('SET', key, meta, 'PX', ttl, mode) or not mode and redis.call('SET', key, meta, 'PX', ttl)
  end
  if done then redis.call('PUBLISH', key, meta) end
  return done
end

local function guarded(key, meta)
  local existing = redis.call('GET', key)
  if existing == meta then return 0 end
  local stands = existing and statusOf(existing) or ''
  if stands == 'SUCCESS' then return 1 end
  local fence = base .. string.sub(key, skip)
  local known = redis.call('HMGET', fence, 'epoch', 'wrote')
  if epoch < tonumber(known[1] or 0) then return 2 end
  local status = statusOf(meta)
  if (stands == 'FAILURE' or stands == 'REVOKED') and epoch <= tonumber(known[2] or 0) and status ~= 'SUCCESS' then
    local isBare = stands == 'REVOKED' and string.find(existing, '"children": ?null')
    if not isBare or status ~= 'FAILURE' and status ~= 'REVOKED' then return 1 end
  end
  store(key, meta)
  if epoch > 0 then
    redis.call('HSET', fence, 'wrote', epoch)
    if redis.call('PTTL', fence) < 0 then redis.call('PEXPIRE', fence, ttl == '' and 86400000 or ttl) end
  end
  return 0
end

for i = 2, #KEYS do
  local meta, result = ARGV[i + 3], 0
  if not plain or not store(KEYS[i], meta, 'NX') then result = guarded(KEYS[i], meta) end
  if result ~= 0 and not reply then
    reply = {}
    for j = 1, i - 2 do reply[j] = 0 end
  end
  if reply then reply[i - 1] = result end
end
return reply or false
`);

const RESULTS: readonly WriteResult[] = ['stored', 'final', 'fenced'];

export interface WriteGroup {
  readonly ttlMs: number | null;
  readonly epoch: number;
  /** Full keys of the metas. */
  readonly keys: readonly string[];
  readonly metas: readonly string[];
}

/** `null`: all were stored. */
export async function write(
  connection: RedisConnection,
  names: { readonly claims: string; readonly epochs: string; readonly metas: string },
  group: WriteGroup,
): Promise<readonly WriteResult[] | null> {
  const args: string[] = [script.sha, String(group.keys.length + 1), names.claims];
  for (const key of group.keys) args.push(key);
  args.push(
    group.ttlMs === null ? '' : String(Math.max(1, Math.ceil(group.ttlMs))),
    String(group.epoch),
    names.epochs,
    String(Buffer.byteLength(names.metas)),
  );
  for (const meta of group.metas) args.push(meta);
  const reply = (await connection.run(script, args)) as RedisReply[] | null;
  return reply === null ? null : reply.map((code) => RESULTS[code as number] as WriteResult);
}
