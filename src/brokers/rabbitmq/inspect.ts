/** Questions about queues: depth, peek, purge. One by one on a setup channel: a missing queue closes it. */

import type { GetMessage } from '../../clients/amqp.js';
import { AMQP_NOT_FOUND, amqpCode, type SetupChannel } from '../../clients/amqp-setup.js';
import type { Peeked, QueueDepth } from '../broker.js';
import { decode } from './codec.js';
import { declarationError } from './declaration-error.js';

const ASK_MS = 10_000;
/** While they are looked at, messages are out of their queue and in our memory. */
const LARGEST_PEEK = 1_000;

/** Ready messages of each queue; what is delayed or held AMQP does not tell. A missing queue is empty. */
export async function depth(setup: SetupChannel, queues: readonly string[]): Promise<readonly QueueDepth[]> {
  const depths: QueueDepth[] = [];
  for (const queue of queues) {
    const ready = await setup
      .run(ASK_MS, async (channel) => (await channel.checkQueue(queue)).messageCount)
      .catch((error: unknown) => {
        if (amqpCode(error) === AMQP_NOT_FOUND) return 0;
        throw declarationError(error, 'queue', queue);
      });
    depths.push({ queue, ready, delayed: null, unacked: null });
  }
  return depths;
}

/** Takes up to `limit` messages and puts them back where they were; the broker marks them as redelivered. */
export async function peek(setup: SetupChannel, queue: string, limit: number): Promise<readonly Peeked[]> {
  try {
    return await setup.run(ASK_MS, async (channel) => {
      const got: GetMessage[] = [];
      try {
        while (got.length < Math.min(limit, LARGEST_PEEK)) {
          const message = await channel.get(queue, { noAck: false });
          if (message === false) break;
          got.push(message);
        }
      } finally {
        const last = got.at(-1);
        if (last) channel.nack(last, true, true);
      }
      await channel.checkQueue(queue); // answered after the nack: the messages are back when this resolves
      return got.map((message): Peeked => {
        const decoded = decode(message);
        return 'message' in decoded ? { message: decoded.message, notBeforeMs: null } : { garbage: decoded.raw };
      });
    });
  } catch (error) {
    if (amqpCode(error) === AMQP_NOT_FOUND) return [];
    throw declarationError(error, 'queue', queue);
  }
}

/** Removes what is ready; what waits in the delay ladder belongs to all queues together and stays. */
export async function purge(setup: SetupChannel, queue: string): Promise<number> {
  try {
    return await setup.run(ASK_MS, async (channel) => (await channel.purgeQueue(queue)).messageCount);
  } catch (error) {
    if (amqpCode(error) === AMQP_NOT_FOUND) return 0;
    throw declarationError(error, 'queue', queue);
  }
}
