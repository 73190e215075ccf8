/**
 * The dead letters of Redis, for `keyed-dead-letters.ts`. Three keys: elements and facts by id, and the ids in a sorted set
 * of equal scores, which Redis keeps in the order of the ids, which is that of the parking. No key expires.
 *
 * Facts lie apart from elements, so that a page of a list reads no payload.
 */
import { randomUUID } from 'node:crypto';
import { type RedisArg, type RedisReply, redisErrorCode } from '../../clients/redis.js';
import { BrokerError } from '../../core/errors.js';
import { decodeEnvelope, encodeEnvelope, queueKey } from '../../wire/redis-envelope.js';
import type { DeadFacts, DeadLetter } from '../dead-letters.js';
import { type DeadReturn, type DeadStore, putBackFault } from '../keyed-dead-letters.js';
import type { RedisLinks } from './connection.js';
import { checkQueueName, queueBinding } from './keys.js';
import { type Unpark, unpark } from './scripts/unpark.js';
import { answeredBy } from './until-answered.js';

/** For looking, which people do. */
const LOOK_MS = 5_000;

/** What `lovage:dead:facts` holds of a letter, as JSON. */
export type RedisDeadFacts = DeadFacts & Pick<DeadLetter, 'parkedAtMs' | 'size'>;

/** @param assertOpen throws once the broker was closed */
export function redisDeadStore(links: RedisLinks, assertOpen: () => void): DeadStore {
  const { commands, keys } = links;

  const untilAnswered = answeredBy(links, assertOpen);
  const look = (name: string, args: readonly RedisArg[]): Promise<RedisReply> =>
    untilAnswered(LOOK_MS, () => commands.call(name, args));
  const find = async (ids: readonly string[]): Promise<(DeadLetter | null)[]> => {
    if (ids.length === 0) return [];
    const found = (await look('hmget', [keys.deadFacts, ...ids])) as (Buffer | null)[];
    return found.map((facts, index) =>
      facts === null ? null : { id: ids[index] as string, ...(JSON.parse(facts.toString()) as RedisDeadFacts) },
    );
  };
  const end = (letters: readonly Unpark[], timeoutMs: number): Promise<readonly (boolean | string)[]> =>
    untilAnswered(timeoutMs, async (isRepeat) => {
      const flags = await unpark(commands, keys, letters);
      // gone at a repeat: our first try did it before the connection died
      return flags.map((flag) => (flag === false && isRepeat ? true : flag));
    });

  return {
    count: async () => (await look('hlen', [keys.dead])) as number,
    find,
    page: async (towards, beyond, limit) => {
      const from = beyond === null ? null : `(${beyond}`;
      const range = towards === 'older' ? ['zrevrangebylex', from ?? '+', '-'] : ['zrangebylex', from ?? '-', '+'];
      const [command, start, stop] = range as [string, string, string];
      const ids = (await look(command, [keys.deadIndex, start, stop, 'limit', '0', String(limit)])) as Buffer[];
      return (await find(ids.map(String))).filter((letter) => letter !== null);
    },
    contents: async (letters) => {
      if (letters.length === 0) return [];
      const raws = (await look('hmget', [keys.dead, ...letters.map(({ id }) => id)])) as (Buffer | null)[];
      return raws.map((raw, index) => {
        if (raw === null) return null;
        const letter = letters[index] as DeadLetter;
        try {
          return { letter, raw, message: decodeEnvelope(raw).message };
        } catch {
          return { letter, raw, message: null };
        }
      });
    },
    putBack: async (returns, timeoutMs) => {
      const queues = new Set(returns.map(({ letter, queue }) => queue ?? letter.queue));
      for (const queue of queues) {
        checkQueueName(queue);
        const binding = queueBinding(keys.prefix, queue, links.queues);
        await untilAnswered(timeoutMs, () => commands.call('sadd', binding)).catch((error: unknown) => {
          // Only kombu's own routing reads bindings: a full memory must not keep letters from going back.
          if (redisErrorCode(error) === undefined) throw error;
        });
      }
      const flags = await end(
        returns.map((each) => toElement(each, keys.prefix)),
        timeoutMs,
      );
      return flags.map((flag) =>
        typeof flag === 'string' ? putBackFault(new BrokerError('E_BROKER_FULL', `Redis refused the message: ${flag}`)) : flag,
      );
    },
    remove: async (letters, timeoutMs) => {
      const flags = await end(
        letters.map(({ id }) => ({ id, list: null, element: '' })),
        timeoutMs,
      );
      return flags.filter((flag) => flag === true).length;
    },
  };
}

/** A fresh tag: under the old one its losses are still counted for a day, and kombu may still hold it. */
function toElement({ letter, message, queue }: DeadReturn, prefix: string): Unpark {
  const name = queue ?? letter.queue;
  const element = encodeEnvelope(message, { exchange: '', routingKey: name, deliveryTag: randomUUID() });
  return { id: letter.id, list: prefix + queueKey(name, message.properties.priority ?? 0), element };
}
