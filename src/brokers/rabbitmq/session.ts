/**
 * One life of a consumer's channel: its subscriptions, what is held on it, and the frames that settle it. When the channel has closed
 * nothing here can be repaired: the consumer makes a new session.
 */
import type { AmqpLink, Channel, ConsumeMessage } from '../../clients/amqp.js';
import type { Arrival } from '../broker.js';
import { AckBatch } from './ack-batch.js';
import { CLAIM_HEADER, decode } from './codec.js';
import type { ConsumerTimeout } from './consumer-timeout.js';
import type { Held, Window } from './held.js';

const LARGEST_PREFETCH = 65_535;

/** A queue of ours without a limit of returns; but newer brokers give every quorum queue one of 20. */
const ORPHAN_RETURNS = 10;

/** Told about the copies of a claim queue. */
export interface CopyEvents {
  onCopy(deliveryTag: number, claim: string): void;
  onCancelled(): void;
}

/** Everybody who waits for the same flush. */
interface Flush {
  readonly done: Promise<boolean>;
  end(reached: boolean): void;
}

/** Told by the session. */
export interface SessionEvents {
  onDelivery(held: Held): void;
  /** The broker ended the subscription to this queue. */
  onCancelled(queue: string): void;
  /** The broker ended the subscription to the orphans of this queue. */
  onOrphansCancelled(queue: string): void;
  /** The broker has answered something. */
  onAlive(): void;
}

let sessions = 0;

export class Session {
  readonly channel: Channel;
  /** Deliveries that the engine has, by tag. */
  readonly held = new Map<string, Held>();
  open = true;
  readonly #link: AmqpLink;
  readonly #timeout: ConsumerTimeout;
  readonly #events: SessionEvents;
  readonly #number = ++sessions;
  readonly #acks = new AckBatch();
  readonly #windows = new Map<string, Window>();
  /** The queue of orphans of each queue for which there is one. */
  readonly #orphans = new Map<string, string>();
  #flushing = false;
  /** The flush after the running one. */
  #next: Flush | undefined;

  constructor(link: AmqpLink, channel: Channel, timeout: ConsumerTimeout, events: SessionEvents) {
    this.#link = link;
    this.#timeout = timeout;
    this.channel = channel;
    this.#events = events;
  }

  subscribed(queue: string): boolean {
    return this.#windows.has(queue);
  }

  /** The sum of the prefetch of a queue's subscriptions. */
  size(queue: string): number {
    return this.#windows.get(queue)?.size ?? 0;
  }

  /** The broker may not send more of this queue before something is settled. */
  full(queue: string): boolean {
    const window = this.#windows.get(queue);
    return window !== undefined && window.open >= window.size;
  }

  /** Lets the broker have `prefetch` more deliveries of the queue out. Rejects when the channel closes. */
  async subscribe(queue: string, prefetch: number): Promise<void> {
    const count = Math.min(prefetch, LARGEST_PREFETCH);
    const orphans = this.#orphans.get(queue);
    await Promise.all([
      // before the queue: they have waited already
      ...(orphans !== undefined && !this.#windows.has(orphans) ? [this.#consume(orphans, queue, count)] : []),
      this.#consume(queue, queue, count),
    ]);
  }

  /** Where orphans of the queue are, `undefined` while that is not known. */
  orphansOf(queue: string): string | undefined {
    return this.#orphans.get(queue);
  }

  /** From now on the orphans of a queue are taken whenever the queue is: first, and beside its prefetch. */
  async takeOrphans(queue: string, orphans: string): Promise<void> {
    this.#orphans.set(queue, orphans);
    const window = this.#windows.get(queue);
    if (window && !this.#windows.has(orphans)) await this.#consume(orphans, queue, Math.min(window.size, LARGEST_PREFETCH));
  }

  /** Nothing of this queue is taken any more. */
  async leave(queue: string): Promise<void> {
    await this.unsubscribe(queue);
    this.#orphans.delete(queue);
  }

  /** @param queue whose deliveries these are, `from` somewhere else if they are orphans */
  async #consume(from: string, queue: string, count: number): Promise<void> {
    const window: Window = this.#windows.get(from) ?? { tags: [], size: 0, open: 0 };
    this.#windows.set(from, window);
    window.size += count;
    // Two frames one after the other: the limit is that of the subscriptions made after it, each for itself.
    const [, consumed] = await Promise.all([
      this.channel.prefetch(count, false),
      this.channel.consume(from, (message) => this.#onMessage(from, queue, window, message), {
        noAck: false,
        arguments: this.#timeout.argumentsFor(this.#link.serverVersion, from),
      }),
    ]).catch((error: unknown) => {
      this.#timeout.learn(error, from); // a refused argument: the next session does without
      throw error;
    });
    if (this.#windows.get(from) === window) window.tags.push(consumed.consumerTag);
    else if (this.open) await this.channel.cancel(consumed.consumerTag); // ended meanwhile
  }

  /** Ends the subscriptions of a queue, or all; resolves when nothing more can come from them. Deliveries that are out stay out. */
  async unsubscribe(queue?: string): Promise<void> {
    const ended = queue === undefined ? [...this.#windows.keys()] : [queue, this.#orphans.get(queue) ?? queue];
    const tags = [...new Set(ended)].flatMap((name) => this.#windows.get(name)?.tags ?? []);
    for (const name of ended) this.#windows.delete(name);
    // A channel that breaks meanwhile delivers nothing more either.
    await Promise.all(tags.map((tag) => this.channel.cancel(tag))).catch(() => undefined);
  }

  /** Receives what is published to a claim queue. Ends with the channel. */
  async receiveCopies(queue: string, events: CopyEvents): Promise<void> {
    const onMessage = (received: ConsumeMessage | null): void => {
      if (received === null) return events.onCancelled();
      const { deliveryTag } = received.fields;
      this.#acks.deliver(deliveryTag);
      events.onCopy(deliveryTag, String(received.properties.headers?.[CLAIM_HEADER]));
    };
    const options = { noAck: false, arguments: this.#timeout.argumentsFor(this.#link.serverVersion, queue) };
    await Promise.all([this.channel.prefetch(LARGEST_PREFETCH, false), this.channel.consume(queue, onMessage, options)]);
  }

  /** From now on we hold the copy; the original is acknowledged. Resolves when the broker has read that, or the channel has gone. */
  exchange(held: Held, copyTag: number): Promise<boolean> {
    this.#acks.finish(held.deliveryTag);
    if (held.window) held.window.open -= 1;
    held.window = null;
    held.deliveryTag = copyTag;
    held.sinceMs = performance.now();
    return this.flush();
  }

  /** A copy that nobody needs. */
  drop(copyTag: number): void {
    this.#acks.finish(copyTag);
    void this.flush();
  }

  /** To be acknowledged with the next flush. */
  ack(held: Held): void {
    this.held.delete(held.arrival.tag);
    this.#acks.finish(held.deliveryTag);
    if (held.window) held.window.open -= 1;
  }

  /** Back to where it was in its queue; a claim goes to the end of it, by the way of dead letters. */
  requeue(held: Held): void {
    this.held.delete(held.arrival.tag);
    this.#acks.drop(held.deliveryTag);
    if (held.window) held.window.open -= 1;
    try {
      this.channel.nack(only(held.deliveryTag), false, held.window !== null);
    } catch {
      // The channel has closed under us, and the broker has put it back itself.
    }
  }

  /**
   * Writes what is finished; true once the broker has read it. AMQP does not answer acknowledgements, so a question that changes
   * nothing follows them. What finishes meanwhile is written together afterwards: the busier, the larger the batches.
   */
  flush(): Promise<boolean> {
    this.#next ??= newFlush();
    const { done } = this.#next;
    if (!this.#flushing) {
      this.#flushing = true;
      setImmediate(() => void this.#flushAll());
    }
    return done;
  }

  /** Asks something that changes nothing. Rejects when the channel closes. */
  async ping(): Promise<void> {
    // The prefetch of later subscriptions, which set their own before they start.
    await this.channel.prefetch(1, false);
    this.#events.onAlive();
  }

  /** Gives everything back and closes the channel. Resolves with the number of deliveries that the engine had. */
  async handBack(): Promise<number> {
    this.open = false;
    const count = this.held.size;
    for (const held of [...this.held.values()]) if (held.window === null) this.requeue(held);
    this.held.clear();
    try {
      this.#writeAcks();
      // In the order of their tags, which is the order of their queues: the first goes back to the front.
      if (this.#acks.open > 0) this.channel.nackAll(true);
      await this.channel.close();
      return count;
    } catch {
      return 0; // the channel had gone: the broker has put them back itself
    }
  }

  async #flushAll(): Promise<void> {
    while (this.#next) {
      const flush = this.#next;
      this.#next = undefined;
      try {
        this.#writeAcks();
        await this.ping();
        flush.end(true);
      } catch {
        flush.end(false); // the channel has gone: the broker gives these to somebody else
      }
    }
    this.#flushing = false;
  }

  #writeAcks(): void {
    if (!this.#acks.due) return;
    this.#link.gather();
    this.#acks.flush((tag, upTo) => this.channel.ack(only(tag), upTo));
  }

  #onMessage(from: string, queue: string, window: Window, received: ConsumeMessage | null): void {
    const isOrphan = from !== queue;
    if (received === null) {
      if (this.#windows.get(from) === window) this.#windows.delete(from);
      if (isOrphan) this.#orphans.delete(queue);
      return isOrphan ? this.#events.onOrphansCancelled(queue) : this.#events.onCancelled(queue);
    }
    const { deliveryTag, redelivered } = received.fields;
    const tag = `${this.#number}:${deliveryTag}`;
    const decoded = decode(received);
    const isMessage = 'message' in decoded;
    const arrival: Arrival = isMessage
      ? {
          kind: 'delivery',
          tag,
          queue,
          message: decoded.message,
          redelivered: redelivered || decoded.redelivered,
          losses: decoded.losses,
        }
      : { kind: 'garbage', tag, queue, raw: decoded.raw, fault: decoded.fault };
    this.#acks.deliver(deliveryTag);
    window.open += 1;
    this.#events.onDelivery({
      arrival,
      holder: isMessage ? decoded.holder : null,
      orphanedMs: isMessage ? decoded.orphanedMs : null,
      claimedBefore: isMessage && decoded.holder !== null,
      received: isMessage ? null : received,
      session: this,
      returned: isMessage && decoded.returns > (isOrphan ? ORPHAN_RETURNS : 0),
      isOrphan,
      deliveryTag,
      sinceMs: performance.now(),
      window,
    });
  }
}

/** The client wants the whole message to acknowledge it, and reads the tag. */
const only = (deliveryTag: number): ConsumeMessage => ({ fields: { deliveryTag } }) as ConsumeMessage;

function newFlush(): Flush {
  let end: (reached: boolean) => void = () => undefined;
  const done = new Promise<boolean>((resolve) => (end = resolve));
  return { done, end };
}
