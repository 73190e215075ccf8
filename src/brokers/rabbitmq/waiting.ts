/**
 * A way through a queue of RabbitMQ, for `brokers/waiting.ts`. AMQP cannot look at a message without taking it: so all are
 * taken, one step after the other, and what stays goes back to its place at the end, marked as redelivered. What is
 * delayed waits in the ladder of all queues together and is not seen.
 *
 * A quorum queue counts what is given back and may drop it for that: what it has counted once is replaced by a copy at the
 * end of the queue. A move is a confirmed copy and then the acknowledgement, so no message is ever in neither queue.
 */
import type { AmqpLink, Channel, Message } from '../../clients/amqp.js';
import type { ConfirmPublisher } from '../../clients/amqp-publisher.js';
import { AMQP_NOT_FOUND, amqpCode } from '../../clients/amqp-setup.js';
import { BrokerError, codeOf, toError } from '../../core/errors.js';
import type { Met, WaitingWalk } from '../waiting.js';
import { type Decoded, decode, encodeCopy, rawCopy, redelivered } from './codec.js';
import { DeadReader } from './dead-reader.js';
import { declarationError, type Topology } from './topology.js';

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
    /** The last page, without what was taken of it. */
    let left = new Set<Message>();
    let begun = false;
    let total = 0;

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
    const renew = async (): Promise<void> => {
      const counted = [...left].filter(({ properties }) => Number(properties.headers?.['x-delivery-count']) > 0);
      if (counted.length === 0) return;
      const copies = counted.map((received) => {
        const { content, options } = rawCopy(received);
        const { 'x-delivery-count': _count, ...headers } = options.headers as Record<string, unknown>;
        const { deliveryMode, expiration } = received.properties;
        return {
          exchange: '',
          routingKey: queue,
          content,
          options: { ...options, headers, deliveryMode, expiration, mandatory: true },
        };
      });
      const failures = await publisher.publish(copies, { timeoutMs: COPY_MS });
      counted.forEach((received, index) => failures[index] === null && reader.ack(received));
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
          await renew();
          const page = await read();
          left = new Set(page);
          return page.length === 0 ? null : { looked: page.length, met: page.flatMap(meet) };
        } catch (error) {
          throw broken(error);
        }
      },
      take: async (messages, to, timeoutMs) => {
        assertOpen();
        const done = (received: Message): true => {
          left.delete(received);
          reader.ack(received);
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
        // A step that was interrupted may have left some counted: they go back as they are, and a later walk renews them.
        await renew().catch(() => undefined);
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
