/**
 * What lies in the delay store: members of `lovage:delayed:<queue>`, by due time, and `lovage:delayed-tasks`, which tells by a
 * task's id where its message lies, so that a revoked one is found without walking. Whoever takes a member out of a delay
 * set takes its place out as well; a place that is out of date is only looked up in vain.
 */
import type { RedisArg } from '../../../clients/redis.js';
import { LONGEST_NAME } from '../../../core/timed-set.js';

/**
 * The member of a delay set: a unique word, the list to return to and the task's id as JSON texts, the envelope, with line ends
 * between. Unique, because two messages may be equal to the byte and a set would keep one.
 * @param task the task's id, by which it is found; `''` = it has none
 */
export function delayedMember(unique: string, list: string, task: string, envelope: RedisArg): RedisArg {
  const head = delayedHead(unique, list, task);
  return typeof envelope === 'string' ? head + envelope : Buffer.concat([Buffer.from(head), envelope]);
}

/** What stands before the envelope in a member. */
export function delayedHead(unique: string, list: string, task: string): string {
  return `${unique}\n${JSON.stringify(list)}${task === '' ? '' : `,${JSON.stringify(task)}`}\n`;
}

/** The envelope in a member of a delay set. */
export function delayedEnvelope(member: Buffer): Buffer {
  return member.subarray(member.indexOf(10, member.indexOf(10) + 1) + 1);
}

/** The id of a message's task, as `delayedMember` wants it. */
export function delayedTask(headers: Readonly<Record<string, unknown>>): string {
  const { id } = headers;
  return typeof id === 'string' && id.length <= LONGEST_NAME ? id : '';
}

/**
 * For scripts that deal with members.
 * - `headOf(member)`: its list, its task's id or nil, its envelope
 * - `remember(tasks, member, due, queue)`: notes its place; where the notes cannot be written it is only not found by its task
 * - `announce(delayed, set, queue, bell)`: after something came into the set: the queue's next due time, told if it is the next of all
 * - `forget(tasks, member, due, queue)`: takes that out again, unless another message of the task has come in its place
 */
export const DELAYED_LUA = `
local function headOf(member)
  local first = string.find(member, '\\n', 1, true)
  local second = string.find(member, '\\n', first + 1, true)
  local head = cjson.decode('[' .. string.sub(member, first + 1, second - 1) .. ']')
  return head[1], head[2], string.sub(member, second + 1)
end
local function placeOf(member, due, queue)
  return string.sub(member, 1, string.find(member, '\\n', 1, true)) .. due .. '\\n' .. queue
end
local function remember(tasks, member, due, queue)
  local _, task = headOf(member)
  if task then redis.pcall('HSET', tasks, task, placeOf(member, due, queue)) end
end
local function announce(delayed, set, queue, bell)
  local due = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')[2]
  if redis.call('ZADD', delayed, 'LT', 'CH', due, queue) == 1 and redis.call('ZRANGE', delayed, 0, 0)[1] == queue then
    local time = redis.call('TIME')
    redis.pcall('PUBLISH', bell, string.format('%.0f', due - time[1] * 1000 - math.floor(time[2] / 1000)))
  end
end
local function forget(tasks, member, due, queue)
  local _, task = headOf(member)
  if task and redis.pcall('HGET', tasks, task) == placeOf(member, due, queue) then redis.call('HDEL', tasks, task) end
end
`;
