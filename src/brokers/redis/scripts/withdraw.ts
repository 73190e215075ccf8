import { defineScript, type RedisReply } from '../../../clients/redis.js';
import { DELAYED_LUA } from './delayed-member.js';
import type { ScriptRunner } from './runner.js';

/**
 * Takes the messages of revoked tasks out of the delay store. Found by the place that is noted for the task; among members of one
 * due time, which Redis keeps in the order of their bytes, by halving: a thousand tasks of one moment cost ten looks.
 *
 * KEYS  1 lovage:delayed, 2 lovage:delayed-tasks
 * ARGV  task ids
 * Reply pairs: number of the id, its envelope
 */
const script = defineScript(`
${DELAYED_LUA}
local function compare(member, first)
  for i = 1, #first do
    local a, b = string.byte(member, i) or -1, string.byte(first, i)
    if a ~= b then return a - b end
  end
  return 0
end
local function locate(key, due, first)
  local low = redis.call('ZCOUNT', key, '-inf', '(' .. due)
  local high = low + redis.call('ZCOUNT', key, due, due) - 1
  while low <= high do
    local middle = math.floor((low + high) / 2)
    local member = redis.call('ZRANGE', key, middle, middle)[1]
    local order = compare(member, first)
    if order == 0 then return member end
    if order < 0 then low = middle + 1 else high = middle - 1 end
  end
end
local reply = {}
for i = 1, #ARGV do
  local place = redis.call('HGET', KEYS[2], ARGV[i])
  if place then
    local first, due, queue = string.match(place, '^(.-\\n)(.-)\\n(.*)$')
    local key = KEYS[1] .. ':' .. queue
    local member = locate(key, due, first)
    redis.call('HDEL', KEYS[2], ARGV[i])
    if member then
      local _, task, envelope = headOf(member)
      if task == ARGV[i] then
        redis.call('ZREM', key, member)
        if redis.call('EXISTS', key) == 0 then redis.call('ZREM', KEYS[1], queue) end
        reply[#reply + 1] = i
        reply[#reply + 1] = envelope
      end
    end
  end
end
return reply
`);

/** What was withdrawn: positions in `tasks`, and envelopes. */
export async function withdraw(
  runner: ScriptRunner,
  keys: { readonly delayed: string; readonly delayedTasks: string },
  tasks: readonly string[],
): Promise<readonly { readonly at: number; readonly raw: Buffer }[]> {
  const reply = (await runner.run(script, [script.sha, '2', keys.delayed, keys.delayedTasks, ...tasks])) as RedisReply[];
  const taken: { at: number; raw: Buffer }[] = [];
  for (let at = 0; at < reply.length; at += 2) taken.push({ at: (reply[at] as number) - 1, raw: reply[at + 1] as Buffer });
  return taken;
}
