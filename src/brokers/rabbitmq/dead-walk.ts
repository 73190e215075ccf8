/**
 * A walk through `lovage.dead`. AMQP cannot look at a message without taking it, so a walk takes them all, one step after the
 * other, and gives back at its end what it did not remove; each goes back to where it was. If the walk dies, the broker
 * gives everything back by itself.
 *
 * One walk at a time, over all processes: a second one would see only what the first has not taken. The lock is a queue
 * that only one connection can have; it goes with that connection.
 *
 * Bounded: one step is in our memory; what was passed over is on the broker, unacknowledged.
 */
import type { AmqpLink, Channel, ChannelModel, Message } from '../../clients/amqp.js';
import type { ConfirmPublisher } from '../../clients/amqp-publisher.js';
import { AMQP_NOT_FOUND, AMQP_RESOURCE_LOCKED, amqpCode } from '../../clients/amqp-setup.js';
import { sleep } from '../../core/clock.js';
import { BrokerError, codeOf, toError } from '../../core/errors.js';
import type { DeadLetterContent } from '../dead-letters.js';
import { rawCopy } from './codec.js';
import { decodeDead } from './dead-codec.js';
import { DeadReader } from './dead-reader.js';
import { DEAD_QUEUE } from './topology.js';

/** Only one connection can declare it. */
const LOCK_QUEUE = 'lovage.dead.reader';
const LOCK_AGAIN_MS = 100;
const COPY_MS = 10_000;

/** A letter in our hands. */
interface Taken extends DeadLetterContent {
  readonly received: Message;
}

/** Some letters of a walk. */
export class WalkStep {
  readonly found: readonly DeadLetterContent[];
  /** Those that stay. */
  readonly left: Set<Taken>;
  readonly #reader: DeadReader;

  constructor(reader: DeadReader, received: readonly Message[]) {
    const taken = received.map((each) => ({ ...decodeDead(each), received: each }));
    this.found = taken;
    this.left = new Set(taken);
    this.#reader = reader;
  }

  /** Acknowledges the letter: it is gone once the walk has ended. */
  remove(content: DeadLetterContent): void {
    const taken = content as Taken;
    if (this.left.delete(taken)) this.#reader.ack(taken.received);
  }
}

export class DeadWalks {
  readonly #link: AmqpLink;
  readonly #publisher: ConfirmPublisher;
  #turn: Promise<void> = Promise.resolve();

  constructor(link: AmqpLink, publisher: ConfirmPublisher) {
    this.#link = link;
    this.#publisher = publisher;
  }

  /**
   * Every letter that is there now, oldest first, in steps; whoever iterates may stop at any time.
   * @throws BrokerError `E_DEAD_LETTERS_BUSY`, `E_BROKER_UNREACHABLE`, `E_CONNECTION_LOST`
   */
  async *walk(timeoutMs: number): AsyncGenerator<WalkStep> {
    const before = this.#turn;
    let endTurn = (): void => undefined;
    this.#turn = new Promise((resolve) => (endTurn = resolve));
    await before;
    const deadlineMs = performance.now() + timeoutMs;
    let model: ChannelModel | undefined;
    let lock: Channel | undefined;
    let reader: DeadReader | undefined;
    try {
      model = await this.#link.connected(timeoutMs);
      lock = await lockQueue(model, deadlineMs);
      reader = new DeadReader(await openChannel(model), DEAD_QUEUE);
      for (let received = await firstOf(reader); received.length > 0; received = await reader.next()) {
        const step = new WalkStep(reader, received);
        yield step;
        await this.#renew(step, reader);
      }
    } catch (error) {
      if (codeOf(error) !== undefined || this.#link.model === model) throw error;
      throw new BrokerError(
        'E_CONNECTION_LOST',
        `the connection broke while the dead letters were looked through: ${toError(error).message}`,
        { cause: error },
      );
    } finally {
      // A channel that is closed already has given everything back.
      await reader?.close().catch(() => undefined);
      await lock?.deleteQueue(LOCK_QUEUE).catch(() => undefined);
      await lock?.close().catch(() => undefined);
      endTurn();
    }
  }

  /** A quorum queue counts how often a message was given back and may drop it for that. A copy starts from nought. */
  async #renew({ left }: WalkStep, reader: DeadReader): Promise<void> {
    const counted = [...left].filter(({ received }) => Number(received.properties.headers?.['x-delivery-count']) > 0);
    if (counted.length === 0) return;
    const copies = counted.map(({ received }) => {
      const { content, options } = rawCopy(received);
      const { 'x-delivery-count': _count, ...headers } = options.headers as Record<string, unknown>;
      return {
        exchange: '',
        routingKey: DEAD_QUEUE,
        content,
        options: { ...options, headers, deliveryMode: 2, mandatory: true },
      };
    });
    const failures = await this.#publisher.publish(copies, { timeoutMs: COPY_MS });
    counted.forEach(({ received }, index) => failures[index] === null && reader.ack(received));
  }
}

async function openChannel(model: ChannelModel): Promise<Channel> {
  const channel = await model.createChannel();
  channel.on('error', () => undefined); // told to the caller by its own rejection
  return channel;
}

async function lockQueue(model: ChannelModel, deadlineMs: number): Promise<Channel> {
  for (;;) {
    const channel = await openChannel(model);
    try {
      await channel.assertQueue(LOCK_QUEUE, { exclusive: true, durable: false });
      return channel;
    } catch (error) {
      if (amqpCode(error) !== AMQP_RESOURCE_LOCKED) throw error;
      if (performance.now() >= deadlineMs) {
        throw new BrokerError(
          'E_DEAD_LETTERS_BUSY',
          'another process is looking through the dead letters, and RabbitMQ lends them to one at a time: try again when it has ended',
          { cause: error },
        );
      }
      await sleep(LOCK_AGAIN_MS);
    }
  }
}

/** The first step; none where nothing was ever parked. */
async function firstOf(reader: DeadReader): Promise<readonly Message[]> {
  try {
    return await reader.first();
  } catch (error) {
    if (amqpCode(error) === AMQP_NOT_FOUND) return [];
    throw error;
  }
}
