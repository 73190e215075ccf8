/**
 * Sending with a time, and what becomes of messages that their queue refuses when the time has come. How messages lie in the delay
 * store: `scripts/delayed-member.ts`. Who brings them back: `housekeeping.ts`.
 */
import { defineScript, type RedisArg } from '../../clients/redis.js';
import { toError, WireError } from '../../core/errors.js';
import { decodeEnvelope } from '../../wire/redis-envelope.js';
import type { Arrival } from '../broker.js';
import { deadFacts, newDeadLetterId } from '../dead-letters.js';
import type { RedisDeadFacts } from './dead-letters.js';
import type { RedisKeys } from './keys.js';
import { DELAYED_LUA, delayedEnvelope } from './scripts/delayed-member.js';
import type { ParkDelayed } from './scripts/park-delayed.js';
import type { Refused } from './scripts/promote.js';

/**
 * Sends messages with a time: into the delay set while somebody lives who will bring them back, else into their list, as Celery's own
 * clients do; whoever takes them from there waits for the time that their `eta` header says.
 *
 * KEYS  1 lovage:promoter, 2 lovage:delayed, 3 lovage:delayed-tasks, 4 lovage:delayed:<queue>, 5 list
 * ARGV  1 queue, 2 the channel that tells consumers of a new next time, then for each message: due time (ms), member
 * Reply 1 (in the delay set), 0 (in the list)
 *
 * A key of another kind is refused before anything is written.
 */
const script = defineScript(`
${DELAYED_LUA}
if redis.call('EXISTS', KEYS[1]) == 0 then
  for i = 3, #ARGV, 2 do
    local _, _, envelope = headOf(ARGV[i + 1])
    redis.call('LPUSH', KEYS[5], envelope)
  end
  return 0
end
redis.call('ZCARD', KEYS[2])
redis.call('ZADD', KEYS[4], unpack(ARGV, 3))
for i = 3, #ARGV, 2 do remember(KEYS[3], ARGV[i + 1], ARGV[i], ARGV[1]) end
announce(KEYS[2], KEYS[4], ARGV[1], ARGV[2])
return 1
`);

/** Arguments of each message. */
export const ARGUMENTS_EACH = 2;

/**
 * The command up to its first message. By its text and not by its hash: it goes out in a transaction, numbered, and a server that does
 * not know the hash would have carried out the number and nothing else.
 */
export function delayedCommand(keys: RedisKeys, queue: string, list: string): readonly RedisArg[] {
  const { promoter, delayed, delayedTasks, bell } = keys;
  return ['eval', script.lua, '5', promoter, delayed, delayedTasks, `${delayed}:${queue}`, list, queue, bell];
}

/** For the dead letters: a message that is due and whose queue refuses it. */
export function deadLetterOf({ queue, member, reason }: Refused, parkedBy: string): ParkDelayed {
  const parkedAtMs = Date.now();
  const element = delayedEnvelope(member);
  const facts: RedisDeadFacts = {
    ...deadFacts(arrivalOf(queue, element), { code: 'E_KEY_TYPE', reason }, parkedBy),
    parkedAtMs,
    size: element.length,
  };
  return { queue, member, id: newDeadLetterId(parkedAtMs), facts: JSON.stringify(facts), element };
}

function arrivalOf(queue: string, raw: Buffer): Arrival {
  try {
    const { message, redelivered } = decodeEnvelope(raw);
    return { kind: 'delivery', tag: '', queue, message, redelivered, losses: 0 };
  } catch (error) {
    return { kind: 'garbage', tag: '', queue, raw, fault: new WireError('E_DECODE', toError(error).message, { cause: error }) };
  }
}
