/** Looking at queues and emptying them: `queues list`, `peek`, `purge`. Nothing here is on the path of a task. */
import type { RedisConnection, RedisReply } from '../../clients/redis.js';
import { defineScript } from '../../clients/redis.js';
import { decodeEnvelope, PRIORITY_SEPARATOR, queueKeys } from '../../wire/redis-envelope.js';
import type { Peeked, QueueDepth } from '../broker.js';
import type { RedisKeys } from './keys.js';
import { DELAYED_LUA, delayedEnvelope } from './scripts/delayed-member.js';

const SCAN_COUNT = '1000';
const PURGE_STEP = 5_000;
/** Each of them is looked at. */
const PURGE_DELAYED_STEP = 500;

/**
 * Removes up to a number of messages from the end that is served first.
 * KEYS 1 list or delay set, 2 lovage:delayed, 3 lovage:delayed-tasks · ARGV 1 how many, 2 queue (for a delay set) or ''
 * Reply how many went
 */
const purgeScript = defineScript(`
${DELAYED_LUA}
if ARGV[2] == '' then
  local count = math.min(redis.call('LLEN', KEYS[1]), ARGV[1])
  if count > 0 then redis.call('LTRIM', KEYS[1], 0, -count - 1) end
  return count
end
local rows = redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1, 'WITHSCORES')
for i = 1, #rows, 2 do forget(KEYS[3], rows[i], rows[i + 1], ARGV[2]) end
local count = redis.call('ZREMRANGEBYRANK', KEYS[1], 0, ARGV[1] - 1)
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('ZREM', KEYS[2], ARGV[2]) end
return count
`);

/** Queues by their bindings: Celery writes one for each queue it declares or publishes to, and so do we. */
export async function listQueues(commands: RedisConnection, keys: RedisKeys): Promise<string[]> {
  const found = new Set<string>();
  const pattern = `${escapeGlob(keys.prefix)}_kombu.binding.*`;
  let cursor = '0';
  do {
    const [next, names] = (await commands.call('scan', [cursor, 'match', pattern, 'count', SCAN_COUNT])) as [Buffer, Buffer[]];
    cursor = next.toString();
    const sets = (await Promise.all(names.map((name) => commands.call('smembers', [name])))) as Buffer[][];
    for (const member of sets.flat()) {
      const [routingKey, , queue] = member.toString().split(PRIORITY_SEPARATOR);
      // Without routing key: a private queue of a fanout exchange (events, control), not one that tasks go to.
      // Replies to control requests are private too.
      if (routingKey && queue && !queue.endsWith('.pidbox')) found.add(queue);
    }
  } while (cursor !== '0');
  return [...found].sort();
}

/** Ready and delayed messages; how many of a queue are held cannot be told without reading all of `unacked`. */
export async function queueDepth(commands: RedisConnection, keys: RedisKeys, queue: string): Promise<QueueDepth> {
  const lists = queueKeys(queue);
  const counts = (await Promise.all([
    commands.call('zcard', [`${keys.delayed}:${queue}`]),
    ...lists.map((list) => commands.call('llen', [keys.prefix + list])),
  ])) as number[];
  const [delayed, ...ready] = counts as [number, ...number[]];
  return { queue, ready: ready.reduce((sum, count) => sum + count, 0), delayed, unacked: null };
}

export async function peekQueue(commands: RedisConnection, keys: RedisKeys, queue: string, limit: number): Promise<Peeked[]> {
  const shown: Peeked[] = [];
  for (const list of queueKeys(queue)) {
    const left = limit - shown.length;
    if (left <= 0) return shown;
    const raws = (await commands.call('lrange', [keys.prefix + list, String(-left), '-1'])) as Buffer[];
    for (const raw of raws.reverse()) shown.push(peeked(raw, null));
  }
  const left = limit - shown.length;
  if (left <= 0) return shown;
  const rows = (await commands.call('zrange', [`${keys.delayed}:${queue}`, '0', String(left - 1), 'withscores'])) as RedisReply[];
  for (let at = 0; at < rows.length; at += 2)
    shown.push(peeked(delayedEnvelope(rows[at] as Buffer), Number(String(rows[at + 1]))));
  return shown;
}

function peeked(raw: Buffer, notBeforeMs: number | null): Peeked {
  try {
    return { message: decodeEnvelope(raw).message, notBeforeMs };
  } catch {
    return { garbage: raw };
  }
}

/** Removes what is there when it starts, in steps that block the server for about a millisecond each. */
export async function purgeQueue(
  commands: RedisConnection,
  keys: RedisKeys,
  queue: string,
  onProgress?: (removed: number) => void,
): Promise<number> {
  const lists = queueKeys(queue).map((list) => keys.prefix + list);
  const delayed = `${keys.delayed}:${queue}`;
  const sizes = (await Promise.all([
    ...lists.map((list) => commands.call('llen', [list])),
    commands.call('zcard', [delayed]),
  ])) as number[];
  let removed = 0;
  for (const [index, key] of [...lists, delayed].entries()) {
    for (let left = sizes[index] as number; left > 0; ) {
      const isDelayed = key === delayed;
      const step = String(Math.min(left, isDelayed ? PURGE_DELAYED_STEP : PURGE_STEP));
      const args = [purgeScript.sha, '3', key, keys.delayed, keys.delayedTasks, step, isDelayed ? queue : ''];
      const count = (await commands.run(purgeScript, args)) as number;
      if (count === 0) break;
      left -= count;
      removed += count;
      onProgress?.(removed);
    }
  }
  return removed;
}

/** A text as a Redis glob pattern that matches just it. */
export function escapeGlob(text: string): string {
  return text.replace(/[\\*?[\]]/g, '\\$&');
}
