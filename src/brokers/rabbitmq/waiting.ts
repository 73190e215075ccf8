/**
 * A way through a queue of RabbitMQ, for `brokers/waiting.ts`. AMQP cannot look at a message without taking it: so all are
 * taken, one step after the other. What is delayed waits in the ladder of all queues together and is not seen.
 *
 * In a classic queue what stays goes back to its place at the end, marked as redelivered. A quorum queue counts what is given
 * back and may drop it for that, so it is turned once around instead: what stays is replaced, a step at a time, by copies at its
 * end. A move is a confirmed copy and then the acknowledgement, so no message is ever in neither queue.
 */
import type { AmqpLink, Channel, Message } from '../../clients/amqp.js';
import type { AmqpOutgoing } from '../../clients/amqp-batch.js';
import type { ConfirmPublisher } from '../../clients/amqp-publisher.js';
import { AMQP_NOT_FOUND, amqpCode } from '../../clients/amqp-setup.js';
import { BrokerError, codeOf, toError } from '../../core/errors.js';
import type { Met, WaitingWalk } from '../waiting.js';
import { type Decoded, decode, encodeCopy, rawCopy, redelivered } from './codec.js';
import { DeadReader } from './dead-reader.js';
import { declarationError } from './declaration-error.js';
import type { Topology } from './topology.js';

const CONNECT_MS = 10_000;
const COPY_MS = 10_000;

export interface WaitingParts {
  readonly link: AmqpLink;
  readonly publisher: ConfirmPublisher;
  readonly topology: Topology;
  /** Throws once the broker was closed. */
  readonly assertOpen: () => void;
}

interface MetMessage extends Met {
  readonly received: Message;
  readonly decoded: Extract<Decoded, { readonly message: unknown }>;
}

export function rabbitmqWalk(parts: WaitingParts): (queue: string) => Promise<WaitingWalk> {
  const { link, publisher, topology, assertOpen } = parts;
  return async (queue) => {
    assertOpen();
    const model = await link.connected(CONNECT_MS);
    const channel: Channel = await model.createChannel();
    channel.on('error', () => undefined); // told to the caller by its own rejection
    const reader = new DeadReader(channel, queue);
    /** The last page, and what of it stays. */
    let page: readonly Message[] = [];
    let left = new Set<Message>();
    const taken = new Set<Message>();
    let begun = false;
    let total = 0;
    /** It counts what is given back: a quorum queue. Told by its mark on messages: on the first, which is got alone, also when it is 0. */
    let counts = false;

    const read = async (): Promise<readonly Message[]> => {
      if (begun) return reader.next();
      begun = true;
      try {
        const first = await reader.first();
        total = first.length + reader.left;
        return first;
      } catch (error) {
        if (amqpCode(error) === AMQP_NOT_FOUND) return [];
        throw declarationError(error, 'queue', queue);
      }
    };
    /** Puts copies of what stays at the end of the queue, and acknowledges all of it at once. */
    const turn = async (): Promise<void> => {
      const last = page.at(-1);
      if (!counts || !last) return;
      const staying = [...left];
      const failures = staying.length === 0 ? [] : await publisher.publish(staying.map(copyOf), { timeoutMs: COPY_MS });
      page = [];
      if (failures.every((failure) => failure === null)) return reader.ackThrough(last);
      // What was copied or taken must not come back as well; what could not be copied does, and is counted.
      const failed = new Set(staying.filter((_, index) => failures[index] !== null));
      for (const received of [...staying, ...taken]) if (!failed.has(received)) reader.ack(received);
    };
    const copyOf = (received: Message): AmqpOutgoing => {
      const { content, options } = rawCopy(received);
      const { 'x-delivery-count': _count, ...headers } = options.headers as Record<string, unknown>;
      const { deliveryMode, expiration } = received.properties;
      const kept = { ...options, headers, deliveryMode, expiration, mandatory: true };
      return { exchange: '', routingKey: queue, content, options: kept };
    };
    const broken = (error: unknown): unknown =>
      codeOf(error) !== undefined || link.model === model
        ? error
        : new BrokerError(
            'E_CONNECTION_LOST',
            `the connection broke on the way through queue ${queue}: ${toError(error).message}`,
            {
              cause: error,
            },
          );

    const walk: WaitingWalk<MetMessage> = {
      get total() {
        return total;
      },
      next: async () => {
        assertOpen();
        try {
          await turn();
          page = await read();
          left = new Set(page);
          taken.clear();
          counts ||= page.some(({ properties }) => properties.headers?.['x-delivery-count'] !== undefined);
          return page.length === 0 ? null : { looked: page.length, met: page.flatMap(meet) };
        } catch (error) {
          throw broken(error);
        }
      },
      take: async (messages, to, timeoutMs) => {
        assertOpen();
        const done = (received: Message): true => {
          left.delete(received);
          // Of a quorum queue with all the others of its page.
          if (counts) taken.add(received);
          else reader.ack(received);
          return true;
        };
        if (to === null) return messages.map(({ received }) => done(received));
        if (!topology.hasQueue(to)) await topology.queue(to, timeoutMs);
        const failures = await publisher.publish(
          messages.map(({ decoded, received }) => {
            const { message, losses } = decoded;
            const hadBefore = decoded.redelivered || losses > 0 || received.fields.redelivered;
            return { exchange: '', routingKey: to, ...encodeCopy(hadBefore ? redelivered(message, losses) : message) };
          }),
          { timeoutMs },
        );
        if (failures.some((failure) => failure?.missing)) topology.forget();
        return failures.map((failure, index) =>
          failure === null
            ? done((messages[index] as MetMessage).received)
            : new BrokerError(failure.code, `a message could not be moved to queue ${to} and stayed: ${failure.message}`, {
                cause: failure.cause,
              }),
        );
      },
      close: async () => {
        if (counts)
          await (async () => {
            await turn();
            // Copies that have come to us again are copied again.
            page = await reader.stop();
            left = new Set(page);
            await turn();
          })().catch(() => undefined);
        // A channel that is closed already has given everything back.
        await reader.close().catch(() => undefined);
      },
    };
    return walk as WaitingWalk;
  };
}

function meet(received: Message): MetMessage[] {
  // `decode` takes the marks of the broker off the headers; what goes back must keep them.
  const decoded = decode({ ...received, properties: { ...received.properties, headers: { ...received.properties.headers } } });
  if (!('message' in decoded)) return [];
  return [{ message: decoded.message, notBeforeMs: null, size: received.content.length, received, decoded }];
}
