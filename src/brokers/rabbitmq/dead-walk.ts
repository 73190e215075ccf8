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
import type { AmqpLink, Channel, ChannelModel, GetMessage } from '../../clients/amqp.js';
import type { ConfirmPublisher } from '../../clients/amqp-publisher.js';
import { AMQP_NOT_FOUND, AMQP_RESOURCE_LOCKED, amqpCode } from '../../clients/amqp-setup.js';
import { sleep } from '../../core/clock.js';
import { BrokerError, codeOf, toError } from '../../core/errors.js';
import type { DeadLetterContent } from '../dead-letters.js';
import { rawCopy } from './codec.js';
import { decodeDead } from './dead-codec.js';
import { DEAD_QUEUE } from './topology.js';

/** Only one connection can declare it. */
const LOCK_QUEUE = 'lovage.dead.reader';
const LOCK_AGAIN_MS = 100;
/** A get is a question and an answer, and a channel asks one at a time. */
const CHANNELS = 8;
/** One step: so many letters, or so much of them (and one letter a channel more). */
const STEP_LETTERS = 256;
const STEP_BYTES = 8 * 1_048_576;
const COPY_MS = 10_000;

/** A letter in our hands. */
interface Taken extends DeadLetterContent {
  readonly channel: Channel;
  readonly received: GetMessage;
}

/** Some letters of a walk. */
export class WalkStep {
  readonly found: readonly DeadLetterContent[];
  /** Those that stay. */
  readonly left: Set<Taken>;

  constructor(taken: readonly Taken[]) {
    this.found = taken;
    this.left = new Set(taken);
  }

  /** Acknowledges the letter: it is gone once the walk has ended. */
  remove(content: DeadLetterContent): void {
    const taken = content as Taken;
    if (this.left.delete(taken)) taken.channel.ack(taken.received);
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
    const opened: Channel[] = [];
    let model: ChannelModel | undefined;
    try {
      model = await this.#link.connected(timeoutMs);
      const lock = await this.#lock(model, deadlineMs);
      opened.push(lock);
      const first = await takeFirst(await openChannel(model), opened);
      let left = first?.received.fields.messageCount ?? 0;
      for (let each = Math.min(CHANNELS - 1, left); each > 0; each -= 1) opened.push(await openChannel(model));
      for (let begun = first ? [first] : []; begun.length > 0 || left > 0; begun = []) {
        const taken = await take(opened.slice(1), left, begun);
        if (taken.length === 0) break;
        left -= taken.length - begun.length;
        const step = new WalkStep(taken);
        yield step;
        await this.#renew(step);
      }
    } catch (error) {
      if (codeOf(error) !== undefined || this.#link.model === model) throw error;
      throw new BrokerError(
        'E_CONNECTION_LOST',
        `the connection broke while the dead letters were looked through: ${toError(error).message}`,
        { cause: error },
      );
    } finally {
      await giveBack(opened);
      endTurn();
    }
  }

  /** A quorum queue counts how often a message was given back and may drop it for that. A copy starts from nought. */
  async #renew({ left }: WalkStep): Promise<void> {
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
    counted.forEach(({ channel, received }, index) => failures[index] === null && channel.ack(received));
  }

  async #lock(model: ChannelModel, deadlineMs: number): Promise<Channel> {
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
}

async function openChannel(model: ChannelModel): Promise<Channel> {
  const channel = await model.createChannel();
  channel.on('error', () => undefined); // told to the caller by its own rejection
  return channel;
}

/**
 * The oldest letter, which also tells how many are behind it. Asking the queue for its length would not do: that question
 * overtakes what a walk before this one has given back.
 */
async function takeFirst(channel: Channel, opened: Channel[]): Promise<Taken | null> {
  try {
    const received = await channel.get(DEAD_QUEUE, { noAck: false });
    opened.push(channel);
    return received === false ? null : { ...decodeDead(received), channel, received };
  } catch (error) {
    if (amqpCode(error) === AMQP_NOT_FOUND) return null; // nothing was ever parked
    throw error;
  }
}

/** The next letters, in the order of the queue. `most`: so many besides those begun with. */
async function take(channels: readonly Channel[], most: number, begun: readonly Taken[]): Promise<Taken[]> {
  const taken = [...begun];
  let open = Math.min(most, STEP_LETTERS - taken.length);
  let bytes = 0;
  const takeBy = async (channel: Channel): Promise<void> => {
    while (open > 0 && bytes < STEP_BYTES) {
      open -= 1;
      const received = await channel.get(DEAD_QUEUE, { noAck: false });
      if (received === false) {
        open = 0;
        return;
      }
      bytes += received.content.length;
      taken.push({ ...decodeDead(received), channel, received });
    }
  };
  await Promise.all(channels.map(takeBy));
  return taken;
}

/** Everything that is still out goes back, and what was acknowledged is gone. The broker has read it when this resolves. */
async function giveBack([lock, ...channels]: readonly Channel[]): Promise<void> {
  const end = async (channel: Channel): Promise<void> => {
    channel.nackAll(true);
    await channel.close();
  };
  // A channel that is closed already has given everything back.
  await Promise.all(channels.map((channel) => end(channel).catch(() => undefined)));
  await lock?.deleteQueue(LOCK_QUEUE).catch(() => undefined);
  await lock?.close().catch(() => undefined);
}
