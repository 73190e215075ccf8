import { defineScript, type RedisArg, type RedisReply } from '../../../clients/redis.js';
import type { ScriptRunner } from './runner.js';

/**
 * Pushes messages whose dedupe keys nobody has, and takes the keys for them.
 *
 * KEYS  for each message: its dedupe key, its list
 * ARGV  for each message: its id, how long it has the key (ms), its envelope
 * Reply for each message 1 (it is there), the id that has the key, or {text of Redis' refusal}
 *
 * A full memory or a replica refuses the first SET, and with it the script, before anything is done.
 *
 * A key is there only if its message was pushed, so one's own key says that an earlier try arrived. It is written anew even
 * so: a WAIT speaks of what its own connection wrote.
 */
const script = defineScript(`
local reply = {}
for i = 1, #KEYS / 2 do
  local key, list = KEYS[2 * i - 1], KEYS[2 * i]
  local id, ttl, envelope = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
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
    local pushed = redis.pcall('LPUSH', list, envelope)
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
  readonly envelope: string;
}

/** For each message: `null` = it is there, else the id that has its key, or Redis' refusal. */
export async function pushOnce(
  runner: ScriptRunner,
  messages: readonly PushOnce[],
): Promise<readonly (null | { readonly holder: string } | Error)[]> {
  const args: RedisArg[] = [script.sha, String(2 * messages.length)];
  for (const { key, list } of messages) args.push(key, list);
  for (const { id, ttlMs, envelope } of messages) args.push(id, String(Math.ceil(ttlMs)), envelope);
  return ((await runner.run(script, args)) as RedisReply[]).map((answer) => {
    if (answer === 1) return null;
    if (!Array.isArray(answer)) return { holder: String(answer) };
    return Object.assign(new Error(String(answer[0])), { name: 'ReplyError' });
  });
}
