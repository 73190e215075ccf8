/**
 * A timed set (`core/timed-set.ts`) in Redis: one sorted set of names by the server time at which each ends, and a number that
 * changes with each addition. Both keys expire with the last name, so an unused set leaves nothing behind.
 *
 * Whoever runs scripts anyway learns the version by a GET of `keys.version`; nobody has to ask for it.
 */
import { LONGEST_NAME, type TimedSet } from '../core/timed-set.js';
import { defineScript, type RedisConnection, RedisLinkError, type RedisReply } from './redis.js';

export interface TimedSetKeys {
  readonly set: string;
  readonly version: string;
}

export interface RedisTimedSetOptions {
  readonly connection: RedisConnection;
  readonly keys: TimedSetKeys;
  /** Names at a time, at most. */
  readonly most: number;
  /** How long a connection is waited for. */
  readonly timeoutMs: number;
  /** Throws once its owner was closed. */
  readonly assertOpen: () => void;
}

/** Names in one command: it must not keep other clients waiting. */
const STEP = 1_000;

/**
 * KEYS  1 set, 2 version
 * ARGV  1 time to live (ms), 2 cap, 3… names
 * Reply for each name 1 (it is in), 0 (no room)
 *
 * The version starts at the time, so that a set which ended and began again has another one than before.
 */
const add = defineScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local till, most, added, reply = now + ARGV[1], tonumber(ARGV[2]), false, {}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local count = redis.call('ZCARD', KEYS[1])
for i = 3, #ARGV do
  local known = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if known or count < most then
    if not known then count = count + 1 end
    redis.call('ZADD', KEYS[1], 'GT', till, ARGV[i])
    added = true
    reply[i - 2] = 1
  else
    reply[i - 2] = 0
  end
end
if added then
  local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
  local version = math.max(now, (tonumber(redis.call('GET', KEYS[2]) or 0)) + 1)
  redis.call('SET', KEYS[2], string.format('%.0f', version), 'PXAT', string.format('%.0f', last))
  redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', last))
end
return reply
`);

/**
 * KEYS  1 set
 * ARGV  names
 * Reply for each name 1 (it is in), 0
 */
const find = defineScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local scores = redis.call('ZMSCORE', KEYS[1], unpack(ARGV))
local reply = {}
for i = 1, #ARGV do reply[i] = scores[i] and tonumber(scores[i]) > now and 1 or 0 end
return reply
`);

/**
 * KEYS  1 set
 * ARGV  1 how many
 * Reply names, those that hold longest first
 */
const list = defineScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', '(' .. string.format('%.0f', now), 'LIMIT', 0, ARGV[1])
`);

/** The version in a reply of GET; 0 when there is none, or when the key is somebody else's. */
export function versionOf(reply: RedisReply): number {
  const version = Buffer.isBuffer(reply) ? Number(reply.toString()) : 0;
  return Number.isSafeInteger(version) && version > 0 ? version : 0;
}

/** The set under these keys. Steps are repeated after a lost connection: each may be. */
export function redisTimedSet({ connection, keys, most, timeoutMs, assertOpen }: RedisTimedSetOptions): TimedSet {
  const answered = async (step: () => Promise<RedisReply>): Promise<RedisReply> => {
    assertOpen();
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      await connection.whenReady(Math.max(0, deadlineMs - performance.now()));
      try {
        return await step();
      } catch (error) {
        if (!(error instanceof RedisLinkError) || performance.now() >= deadlineMs) throw error;
      }
    }
  };
  const flags = async (names: readonly string[], step: (part: readonly string[]) => Promise<RedisReply>): Promise<boolean[]> => {
    const answers: boolean[] = [];
    for (let from = 0; from < names.length; from += STEP) {
      const part = names.slice(from, from + STEP);
      for (const flag of (await answered(() => step(part))) as number[]) answers.push(flag === 1);
    }
    return answers;
  };
  const isName = (name: string): boolean => name !== '' && name.length <= LONGEST_NAME;

  return {
    add: async (names, ttlMs) => {
      const fit = names.filter(isName);
      const answers = await flags(fit, (part) =>
        connection.run(add, [add.sha, '2', keys.set, keys.version, String(Math.ceil(ttlMs)), String(most), ...part]),
      );
      let next = 0;
      return names.map((name) => isName(name) && (answers[next++] as boolean));
    },
    version: async () => versionOf(await answered(() => connection.call('get', [keys.version]))),
    find: async (names) => {
      const fit = names.filter(isName);
      const answers = await flags(fit, (part) => connection.run(find, [find.sha, '1', keys.set, ...part]));
      return new Set(fit.filter((_, index) => answers[index]));
    },
    list: async (limit) => {
      if (limit <= 0) return [];
      const reply = await answered(() => connection.run(list, [list.sha, '1', keys.set, String(limit)]));
      return (reply as RedisReply[]).map(String);
    },
  };
}
