import { defineScript, type RedisArg, type RedisReply } from '../../../clients/redis.js';
import type { RedisKeys } from '../keys.js';
import { DELAYED_LUA } from './delayed-member.js';
import type { ScriptRunner } from './runner.js';

/**
 * Pushes messages whose dedupe keys nobody has, and takes the keys for them. One with a time goes into the delay set while somebody
 * lives who will bring it back, else into its list, as in `delayed.ts`.
 *
 * KEYS  1 lovage:promoter, 2 lovage:delayed, 3 lovage:delayed-tasks, then for each message: its dedupe key, its list,
 *       lovage:delayed:<queue>
 * ARGV  1 the channel that tells consumers of a new next time, then for each message: its id, how long it has the key (ms), when it
 *       is due (ms) or '', its queue, what stands before its envelope in the delay set, its envelope
 * Reply for each message 1 (it is there), the id that has the key, or {text of Redis' refusal}
 *
 * A full memory or a replica refuses the first SET, and with it the script, before anything is done.
 *
 * A key is there only if its message was pushed, so one's own key says that an earlier try arrived. It is written anew even
 * so: a WAIT speaks of what its own connection wrote.
 */
const script = defineScript(`
${DELAYED_LUA}
local isBroughtBack = redis.call('EXISTS', KEYS[1]) == 1
local function put(list, set, due, queue, head, envelope)
  if due == '' or not isBroughtBack then return redis.pcall('LPUSH', list, envelope) end
  local kind = redis.pcall('ZCARD', KEYS[2])
  if type(kind) == 'table' then return kind end
  local member = head .. envelope
  local added = redis.pcall('ZADD', set, due, member)
  if type(added) == 'table' then return added end
  remember(KEYS[3], member, due, queue)
  announce(KEYS[2], set, queue, ARGV[1])
  return added
end
local reply = {}
for i = 1, (#KEYS - 3) / 3 do
  local at = 3 * i
  local key, list, set = KEYS[at + 1], KEYS[at + 2], KEYS[at + 3]
  local id, ttl, due, queue, head, envelope = unpack(ARGV, 6 * i - 4, 6 * i + 1)
  local holder = redis.pcall('GET', key)
  if type(holder) == 'table' then
    reply[i] = {holder.err}
  elseif holder == id then
    redis.call('PEXPIRE', key, redis.call('PTTL', key))
    reply[i] = 1
  elseif holder then
    reply[i] = holder
  else
    redis.call('SET', key, id, 'PX', ttl)
    local pushed = put(list, set, due, queue, head, envelope)
    if type(pushed) == 'table' then redis.call('DEL', key) end
    reply[i] = type(pushed) == 'table' and {pushed.err} or 1
  end
end
return reply
`);

export interface PushOnce {
  readonly key: string;
  readonly list: string;
  readonly id: string;
  readonly ttlMs: number;
  readonly queue: string;
  /** `null`: at once. `head` is what stands before the envelope in the delay set. */
  readonly delayed: { readonly dueMs: number; readonly head: string } | null;
  readonly envelope: string;
}

/** For each message: `null` = it is there, else the id that has its key, or Redis' refusal. */
export async function pushOnce(
  runner: ScriptRunner,
  keys: Pick<RedisKeys, 'promoter' | 'delayed' | 'delayedTasks' | 'bell'>,
  messages: readonly PushOnce[],
): Promise<readonly (null | { readonly holder: string } | Error)[]> {
  const fixed = [keys.promoter, keys.delayed, keys.delayedTasks];
  const args: RedisArg[] = [script.sha, String(fixed.length + 3 * messages.length), ...fixed];
  for (const { key, list, queue } of messages) args.push(key, list, `${keys.delayed}:${queue}`);
  args.push(keys.bell);
  for (const { id, ttlMs, queue, delayed, envelope } of messages)
    args.push(
      id,
      String(Math.ceil(ttlMs)),
      delayed ? String(Math.ceil(delayed.dueMs)) : '',
      queue,
      delayed?.head ?? '',
      envelope,
    );
  return ((await runner.run(script, args)) as RedisReply[]).map((answer) => {
    if (answer === 1) return null;
    if (!Array.isArray(answer)) return { holder: String(answer) };
    return Object.assign(new Error(String(answer[0])), { name: 'ReplyError' });
  });
}
