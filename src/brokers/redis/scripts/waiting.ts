import { defineScript, type RedisArg, type RedisReply } from '../../../clients/redis.js';
import { DELAYED_LUA } from './delayed-member.js';
import { flagOrText } from './requeue.js';
import type { ScriptRunner } from './runner.js';

/**
 * Looks at a part of a list, counted from the end that is served first. What workers take meanwhile moves all the rest
 * towards that end: so a page begins behind the last message that was passed over (the anchor), wherever that is now.
 * If the anchor has gone, so has all that was before it, and the page begins at the end.
 *
 * KEYS  1 list
 * ARGV  1 how many were passed over, 2 the last of them or '', 3 how many to look at
 * Reply how many are before the page, then its messages, the one served first at the end
 */
const listScript = defineScript(`
local before, anchor = tonumber(ARGV[1]), ARGV[2]
if anchor ~= '' and redis.call('LINDEX', KEYS[1], -before) ~= anchor then
  -- a few more than before: some may have been handed back to the front
  local at = redis.call('LPOS', KEYS[1], anchor, 'RANK', -1, 'MAXLEN', before + 1000)
  before = at and redis.call('LLEN', KEYS[1]) - at or 0
end
return { before, redis.call('LRANGE', KEYS[1], -before - tonumber(ARGV[3]), -before - 1) }
`);

/**
 * The same for a delay set, in the order of its times. KEYS 1 lovage:delayed:<queue> · ARGV 1 anchor or '', 2 how many
 * Reply members and scores
 */
const delayedScript = defineScript(`
local rank = ARGV[1] ~= '' and redis.call('ZRANK', KEYS[1], ARGV[1])
local from = rank and rank + 1 or 0
return redis.call('ZRANGE', KEYS[1], from, from + tonumber(ARGV[2]) - 1, 'WITHSCORES')
`);

/**
 * Removes messages from a list, or moves them to another one.
 *
 * KEYS  1 list
 * ARGV  for each message: element, key of the other list or '', element there or ''
 * Reply for each 1 (done), 0 (gone meanwhile) or a text (the other list refused it; nothing changed)
 *
 * The push comes before the removal: a script that stops half way must not have removed what it did not push.
 */
const takeScript = defineScript(`
local reply = {}
for i = 1, #ARGV, 3 do
  local to, done = ARGV[i + 1], 0
  local pushed = to == '' or redis.pcall('LPUSH', to, ARGV[i + 2])
  if type(pushed) == 'table' and pushed.err then
    done = pushed.err
  else
    done = redis.call('LREM', KEYS[1], -1, ARGV[i])
    if done == 0 and to ~= '' then redis.call('LREM', to, 1, ARGV[i + 2]) end
  end
  reply[#reply + 1] = done
end
return reply
`);

/**
 * Goes through the end of a list that is served first, up to an element that was looked at (the anchor): what is wanted leaves
 * it, the others go to its back. Once for each element of a list, that leaves the others in their order; and no element has to
 * be reached in the middle, which costs a walk through the list each time.
 *
 * KEYS  1 list
 * ARGV  1 anchor, 2 how far it can be at most, then as above
 * Reply as above
 *
 * Where workers have taken the anchor, they have taken all that was before it. LMOVE is one step: whatever stops the script,
 * each element is in the list. Told twice about a short list, it turns that once as a whole, which changes nothing.
 */
const siftScript = defineScript(`
local at = redis.call('LPOS', KEYS[1], ARGV[1], 'RANK', -1, 'MAXLEN', ARGV[2])
local left = at and redis.call('LLEN', KEYS[1]) - at or 0
local wanted, reply = {}, {}
for i = 3, #ARGV, 3 do
  wanted[ARGV[i]] = i
  reply[i / 3] = 0
end
for _ = 1, left do
  local i = wanted[redis.call('LINDEX', KEYS[1], -1)]
  local pushed = i and (ARGV[i + 1] == '' or redis.pcall('LPUSH', ARGV[i + 1], ARGV[i + 2]))
  if type(pushed) == 'table' and pushed.err then
    reply[i / 3] = pushed.err
    pushed = false
  end
  if pushed then
    redis.call('RPOP', KEYS[1])
    reply[i / 3] = 1
  else
    redis.call('LMOVE', KEYS[1], KEYS[1], 'RIGHT', 'LEFT')
  end
end
return reply
`);

/**
 * Removing and moving in a delay set: KEYS 1 lovage:delayed, 2 lovage:delayed-tasks · ARGV 1 queue, 2 other queue or '', then for each
 * message: member, due time, member there or ''.
 */
const takeDelayedScript = defineScript(`
${DELAYED_LUA}
local from, other, reply = KEYS[1] .. ':' .. ARGV[1], ARGV[2], {}
local to = KEYS[1] .. ':' .. other
for i = 3, #ARGV, 3 do
  local done = 0
  local added = other == '' or redis.pcall('ZADD', to, ARGV[i + 1], ARGV[i + 2])
  if type(added) == 'table' and added.err then
    done = added.err
  else
    done = redis.call('ZREM', from, ARGV[i])
    if done == 1 then forget(KEYS[2], ARGV[i], ARGV[i + 1], ARGV[1]) end
    if other ~= '' then
      if done == 1 then
        redis.call('ZADD', KEYS[1], 'LT', ARGV[i + 1], other)
        remember(KEYS[2], ARGV[i + 2], ARGV[i + 1], other)
      else
        redis.call('ZREM', to, ARGV[i + 2])
      end
    end
  end
  reply[#reply + 1] = done
end
if redis.call('EXISTS', from) == 0 then redis.call('ZREM', KEYS[1], ARGV[1]) end
return reply
`);

/** Where the page began, and its messages in the order of serving. */
export async function listPage(
  runner: ScriptRunner,
  list: string,
  passed: number,
  anchor: Buffer | null,
  limit: number,
): Promise<{ readonly before: number; readonly elements: readonly Buffer[] }> {
  const args = [listScript.sha, '1', list, String(passed), anchor ?? '', String(limit)];
  const [before, elements] = (await runner.run(listScript, args)) as [number, Buffer[]];
  return { before, elements: elements.reverse() };
}

export async function delayedPage(
  runner: ScriptRunner,
  key: string,
  anchor: Buffer | null,
  limit: number,
): Promise<readonly { readonly member: Buffer; readonly dueMs: number }[]> {
  const rows = (await runner.run(delayedScript, [delayedScript.sha, '1', key, anchor ?? '', String(limit)])) as Buffer[];
  const page: { member: Buffer; dueMs: number }[] = [];
  for (let at = 0; at + 1 < rows.length; at += 2) page.push({ member: rows[at] as Buffer, dueMs: Number(String(rows[at + 1])) });
  return page;
}

/** An element and what takes its place in another list. */
export interface TakenElement {
  readonly element: Buffer;
  readonly to: { readonly list: string; readonly element: string } | null;
}

export async function takeElements(
  runner: ScriptRunner,
  list: string,
  elements: readonly TakenElement[],
): Promise<readonly (boolean | string)[]> {
  const args: RedisArg[] = [takeScript.sha, '1', list];
  for (const { element, to } of elements) args.push(element, to?.list ?? '', to?.element ?? '');
  return ((await runner.run(takeScript, args)) as RedisReply[]).map(flagOrText);
}

/** @param furthest how many elements there are up to the anchor, and some more that may have come to the front since */
export async function siftElements(
  runner: ScriptRunner,
  list: string,
  anchor: Buffer,
  furthest: number,
  elements: readonly TakenElement[],
): Promise<readonly (boolean | string)[]> {
  const args: RedisArg[] = [siftScript.sha, '1', list, anchor, String(furthest)];
  for (const { element, to } of elements) args.push(element, to?.list ?? '', to?.element ?? '');
  return ((await runner.run(siftScript, args)) as RedisReply[]).map(flagOrText);
}

/** A member of a delay set, and what takes its place in that of another queue. */
export interface TakenMember {
  readonly member: Buffer;
  readonly dueMs: number;
  readonly to: RedisArg | null;
}

export async function takeMembers(
  runner: ScriptRunner,
  keys: { readonly delayed: string; readonly delayedTasks: string },
  queue: string,
  to: string | null,
  members: readonly TakenMember[],
): Promise<readonly (boolean | string)[]> {
  const args: RedisArg[] = [takeDelayedScript.sha, '2', keys.delayed, keys.delayedTasks, queue, to ?? ''];
  for (const each of members) args.push(each.member, String(each.dueMs), each.to ?? '');
  return ((await runner.run(takeDelayedScript, args)) as RedisReply[]).map(flagOrText);
}
