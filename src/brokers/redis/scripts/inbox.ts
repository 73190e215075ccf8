/** What happens on the server to inboxes and replies; when is `inbox.ts`. */
import { defineScript, type RedisArg } from '../../../clients/redis.js';
import { INBOX_LIMITS } from '../../broker.js';
import type { ScriptRunner } from './runner.js';

/** The keys of one inbox. */
export interface InboxKeys {
  /** kombu's set of who is bound to the exchange; shared with Python clients. */
  readonly binding: string;
  /** When each of our members of that set was last seen alive, plus the time to live. */
  readonly inboxes: string;
  /** The list of replies. */
  readonly list: string;
  /** Our member of the set. */
  readonly member: string;
}

/** Members of dead clients that one renewal takes out of the shared set. */
const SWEPT = 100;

/**
 * Binds an inbox for a time, and takes out those whose owners died. The shared set expires as a whole once no client of ours
 * is left; a Python client binds itself again at each call.
 *
 * KEYS  1 binding set, 2 lovage:inboxes:<exchange>, 3 list
 * ARGV  1 member, 2 time to live (ms), 3 how many to sweep
 *
 * About the first ZREM see renew.ts.
 */
const renewScript = defineScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREM', KEYS[2], '')
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[3])) do
  redis.call('SREM', KEYS[1], member)
  redis.call('ZREM', KEYS[2], member)
end
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[1])
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
return 1
`);

/** KEYS as above · ARGV 1 member */
const closeScript = defineScript(`
redis.call('SREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[3])
return 1
`);

/**
 * Puts a reply into an inbox that is bound and has room.
 *
 * KEYS  1 binding set, 2 list
 * ARGV  1 member, 2 envelope, 3 most messages, 4 most bytes, 5 time to live (ms)
 * Reply 1, or 0 when it was dropped
 *
 * Who may not ask for the memory is bound by the number alone.
 */
const replyScript = defineScript(`
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then return 0 end
if redis.call('LLEN', KEYS[2]) >= tonumber(ARGV[3]) then return 0 end
local bytes = redis.pcall('MEMORY', 'USAGE', KEYS[2])
if type(bytes) == 'number' and bytes + #ARGV[2] > tonumber(ARGV[4]) then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return 1
`);

export async function renewInbox(runner: ScriptRunner, keys: InboxKeys, ttlMs: number): Promise<void> {
  const args: RedisArg[] = [
    renewScript.sha,
    '3',
    keys.binding,
    keys.inboxes,
    keys.list,
    keys.member,
    String(ttlMs),
    String(SWEPT),
  ];
  await runner.run(renewScript, args);
}

export async function closeInbox(runner: ScriptRunner, keys: InboxKeys): Promise<void> {
  await runner.run(closeScript, [closeScript.sha, '3', keys.binding, keys.inboxes, keys.list, keys.member]);
}

/** Whether it was put there. */
export async function pushReply(
  runner: ScriptRunner,
  keys: Pick<InboxKeys, 'binding' | 'list' | 'member'>,
  envelope: string,
): Promise<boolean> {
  const { messages, bytes, ttlMs } = INBOX_LIMITS;
  const args = [replyScript.sha, '2', keys.binding, keys.list, keys.member, envelope];
  return (await runner.run(replyScript, [...args, String(messages), String(bytes), String(ttlMs)])) === 1;
}
