/**
 * One subscription to several queues: a channel of its own on the consuming connection, its deliveries, and its recovery.
 *
 * The lease of a delivery is the channel: while it is open the broker gives the message to nobody else, and when it closes
 * (connection, 406, 404, timeout) everything on it is lost to us at once. A broken channel never ends the worker: it is made again
 * with backoff, from scratch. What a settlement publishes is in `settle.ts`; credit is in `credit-gate.ts`; acks in `ack-batch.ts`.
 */
import type { AmqpLink, Channel, ChannelModel, ConsumeMessage } from '../../clients/amqp.js';
import { reconnectDelayMs } from '../../core/backoff.js';
import { toError } from '../../core/errors.js';
import type { Arrival, ConsumeOptions, Consumer, Settlement, SettleResult } from '../broker.js';
import { AckBatch } from './ack-batch.js';
import { decode } from './codec.js';
import { CreditGate } from './credit-gate.js';
import type { Settler } from './settle.js';
import type { Topology } from './topology.js';

const DECLARE_MS = 10_000;
/** A question that changes nothing; asked while nothing moves, as proof that the broker answers. */
const PING_EVERY_MS = 20_000;
const PING_ANSWER_MS = 10_000;
/** How long a queue may be out of prefetch while the engine has credit for it, before its window is widened. */
const WIDEN_AFTER_MS = 20;
/** How long prefetched messages may wait here for credit before others get them. */
const RETURN_AFTER_MS = 100;
const LARGEST_PREFETCH = 65_535;
/** RabbitMQ closes the channel of a delivery that is not acknowledged within 30 minutes; a week, where it can be asked for. */
const CONSUMER_TIMEOUT_MS = 7 * 86_400_000;

/** A delivery that is ours: known to the engine once `handed`. */
export interface Held {
  readonly arrival: Arrival;
  /** As it came; kept only for what is no message, whose properties are parked with it. */
  readonly received: ConsumeMessage | null;
  readonly deliveryTag: number;
  readonly session: Session;
  readonly window: Window;
}

/** The subscriptions to one queue: together they let the broker have `size` deliveries out, and `open` are. */
interface Window {
  readonly tags: string[];
  size: number;
  open: number;
}

/** Everybody who waits for the same flush. */
interface Flush {
  readonly done: Promise<boolean>;
  end(reached: boolean): void;
}

/** One life of the channel. */
interface Session {
  readonly channel: Channel;
  readonly number: number;
  readonly acks: AckBatch;
  /** Deliveries that the engine has, by tag. */
  readonly held: Map<string, Held>;
  readonly windows: Map<string, Window>;
  flushing: boolean;
  /** The flush after the running one. */
  next: Flush | undefined;
  open: boolean;
}

type Phase = 'running' | 'paused' | 'closed';

let sessions = 0;

export class RabbitmqConsumer implements Consumer {
  readonly #link: AmqpLink;
  readonly #topology: Topology;
  readonly #settler: Settler;
  readonly #options: ConsumeOptions;
  readonly #gate: CreditGate<Held>;
  readonly #onClosed: () => void;
  readonly #stopListening: () => void;
  readonly #firstTry: Promise<void>;
  #triedOnce: () => void = () => undefined;
  #phase: Phase = 'running';
  #session: Session | undefined;
  #handing = false;
  #tries = 0;
  #retryTimer: NodeJS.Timeout | undefined;
  #widenTimer: NodeJS.Timeout | undefined;
  #returnTimer: NodeJS.Timeout | undefined;
  #pingTimer: NodeJS.Timeout;
  #lastAliveMs = performance.now();
  #settling = 0;
  #settled: (() => void) | undefined;

  constructor(link: AmqpLink, topology: Topology, settler: Settler, options: ConsumeOptions, onClosed: () => void) {
    this.#link = link;
    this.#topology = topology;
    this.#settler = settler;
    this.#options = options;
    this.#onClosed = onClosed;
    this.#gate = new CreditGate(options.queues, options.credit);
    this.#firstTry = new Promise((resolve) => (this.#triedOnce = resolve));
    this.#stopListening = link.listen({
      onUp: (model) => {
        this.#tries = 0;
        void this.#build(model);
      },
      onDown: (cause) => {
        clearTimeout(this.#retryTimer);
        this.#lose(cause);
      },
    });
    this.#pingTimer = setInterval(() => void this.#ping(), PING_EVERY_MS);
    this.#pingTimer.unref();
    link.open();
  }

  /** Resolves after the first attempt to subscribe, however it went: the consumer keeps trying by itself. */
  async started(timeoutMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([this.#firstTry, new Promise((resolve) => (timer = setTimeout(resolve, timeoutMs)))]);
    clearTimeout(timer);
  }

  grant(queue: string, count: number): void {
    if (this.#phase !== 'running') return;
    this.#gate.grant(queue, count);
    this.#scheduleHanding();
    this.#watchWindow();
  }

  holds(tag: string): boolean {
    return this.#session?.held.has(tag) === true;
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    const results = new Array<SettleResult>(settlements.length).fill('lost');
    const quick: number[] = [];
    let slow: { index: number; settlement: Settlement; held: Held }[] | undefined;
    const session = this.#session;
    for (let index = 0; session && index < settlements.length; index += 1) {
      const settlement = settlements[index]!;
      const held = session.held.get(settlement.arrival.tag);
      if (!held) continue;
      if (settlement.kind === 'ack' || (settlement.kind === 'requeue' && settlement.where === 'front')) {
        if (settlement.kind === 'ack') this.#ack(held);
        else this.#requeue(held);
        quick.push(index);
      } else (slow ??= []).push({ index, settlement, held });
    }
    if (!session || (quick.length === 0 && !slow)) return results;
    this.#settling += 1;
    try {
      if (quick.length > 0 && (await this.#flush(session))) for (const index of quick) results[index] = 'held';
      if (slow) await this.#settleSlowly(session, slow, results);
      return results;
    } finally {
      this.#settling -= 1;
      if (this.#settling === 0) this.#settled?.();
    }
  }

  async pause(): Promise<void> {
    if (this.#phase !== 'running') return;
    this.#phase = 'paused';
    clearTimeout(this.#widenTimer);
    clearTimeout(this.#returnTimer);
    const session = this.#session;
    if (!session) return;
    const tags = [...session.windows.values()].flatMap((window) => window.tags);
    session.windows.clear();
    // A channel that breaks meanwhile takes nothing more either.
    await Promise.all(tags.map((tag) => session.channel.cancel(tag))).catch(() => undefined);
    this.#returnUnhanded();
  }

  async close({ timeoutMs }: { readonly timeoutMs: number }): Promise<number> {
    if (this.#phase === 'closed') return 0;
    const deadline = performance.now() + timeoutMs;
    const within = async (work: Promise<unknown>): Promise<void> => {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise((resolve) => (timer = setTimeout(resolve, Math.max(deadline - performance.now(), 0))));
      await Promise.race([work.catch(() => undefined), late]);
      clearTimeout(timer);
    };
    await within(this.pause());
    if (this.#settling > 0) await within(new Promise<void>((resolve) => (this.#settled = resolve)));
    this.#phase = 'closed';
    this.#stopListening();
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#widenTimer);
    clearTimeout(this.#returnTimer);
    clearInterval(this.#pingTimer);
    this.#triedOnce();
    const session = this.#session;
    this.#session = undefined;
    let count = 0;
    if (session?.open) {
      session.open = false;
      count = session.held.size;
      session.held.clear();
      try {
        this.#writeAcks(session);
        // In the order of their tags, which is the order of their queues: the first goes back to the front.
        if (count > 0) session.channel.nackAll(true);
        await within(session.channel.close());
      } catch {
        count = 0; // the channel had gone: the broker has put them back itself
      }
    }
    this.#onClosed();
    return count;
  }

  lastAliveMs(): number {
    return this.#lastAliveMs;
  }

  // Building the channel

  async #build(model: ChannelModel): Promise<void> {
    if (this.#phase !== 'running') return;
    let channel: Channel | undefined;
    try {
      await Promise.all(this.#options.queues.map((queue) => this.#topology.queue(queue.name, DECLARE_MS)));
      channel = await model.createChannel();
      if (this.#phase !== 'running' || this.#link.model !== model) return void channel.close().catch(() => undefined);
      const session: Session = {
        channel,
        number: ++sessions,
        acks: new AckBatch(),
        held: new Map(),
        windows: new Map(),
        flushing: false,
        next: undefined,
        open: true,
      };
      let cause: Error | undefined;
      channel.on('error', (error: Error) => (cause = error));
      channel.on('close', () => {
        session.open = false;
        this.#lose(cause ?? new Error('channel closed'), session);
        if (this.#link.model === model) this.#retry(model, cause ?? new Error('channel closed'));
      });
      this.#session = session;
      for (const queue of this.#options.queues) {
        const prefetch = Math.min(queue.credit, this.#options.credit);
        if (prefetch > 0) await this.#subscribe(session, queue.name, prefetch);
      }
      this.#tries = 0;
      this.#lastAliveMs = performance.now();
      this.#options.onState('connected');
      this.#watchWindow();
    } catch (error) {
      if (this.#session && this.#session.channel === channel) this.#lose(toError(error), this.#session);
      if (channel) await Promise.resolve(channel).then((broken) => broken.close()).catch(() => undefined);
      if (this.#link.model === model) this.#retry(model, toError(error));
    }
    this.#triedOnce();
  }

  #retry(model: ChannelModel, cause: Error): void {
    if (this.#phase !== 'running') return;
    clearTimeout(this.#retryTimer);
    const delayMs = reconnectDelayMs(this.#tries, Math.random());
    this.#tries += 1;
    this.#options.logger.warn({ error: cause.message, retryInMs: delayMs }, 'subscription broken, making it again');
    this.#topology.forget();
    this.#retryTimer = setTimeout(() => void (this.#link.model === model && this.#build(model)), delayMs);
  }

  async #subscribe(session: Session, queue: string, prefetch: number): Promise<void> {
    const window: Window = session.windows.get(queue) ?? { tags: [], size: 0, open: 0 };
    session.windows.set(queue, window);
    window.size += prefetch;
    // Two frames one after the other on one channel: the limit is that of the subscriptions made after it.
    const [, consumed] = await Promise.all([
      session.channel.prefetch(Math.min(prefetch, LARGEST_PREFETCH), false),
      session.channel.consume(queue, (message) => this.#onMessage(session, queue, window, message), {
        noAck: false,
        arguments: takesConsumerTimeout(this.#link.serverVersion) ? { 'x-consumer-timeout': CONSUMER_TIMEOUT_MS } : {},
      }),
    ]);
    // Cancelled meanwhile: then this one is cancelled too.
    if (session.windows.get(queue) === window) window.tags.push(consumed.consumerTag);
    else if (session.open) await session.channel.cancel(consumed.consumerTag);
  }

  /** The broker stops a subscription when its queue is deleted: the others on the channel go on, and this one comes back. */
  async #cancelled(session: Session, queue: string): Promise<void> {
    session.windows.delete(queue);
    this.#options.logger.warn({ queue }, 'the broker cancelled the subscription (was the queue deleted?), making it again');
    for (let tries = 0; session.open && this.#phase === 'running' && !session.windows.has(queue); tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, reconnectDelayMs(tries, Math.random())));
      if (!session.open || this.#phase !== 'running' || session.windows.has(queue)) return;
      try {
        this.#topology.forget();
        await this.#topology.queue(queue, DECLARE_MS);
        const first = this.#options.queues.find((candidate) => candidate.name === queue);
        await this.#subscribe(session, queue, Math.max(1, Math.min(first?.credit ?? 1, this.#options.credit)));
      } catch (error) {
        session.windows.delete(queue);
        this.#options.logger.warn({ queue, error: toError(error).message }, 'subscription failed again');
      }
    }
  }

  // Deliveries in

  #onMessage(session: Session, queue: string, window: Window, received: ConsumeMessage | null): void {
    if (received === null) return void this.#cancelled(session, queue);
    this.#lastAliveMs = performance.now();
    const { deliveryTag, redelivered } = received.fields;
    const tag = `${session.number}:${deliveryTag}`;
    const decoded = decode(received);
    const arrival: Arrival =
      'message' in decoded
        ? { kind: 'delivery', tag, queue, message: decoded.message, redelivered, losses: 0 }
        : { kind: 'garbage', tag, queue, raw: decoded.raw, fault: decoded.fault };
    session.acks.deliver(deliveryTag);
    window.open += 1;
    this.#gate.offer(queue, { arrival, received: arrival.kind === 'garbage' ? received : null, deliveryTag, session, window });
    this.#scheduleHanding();
  }

  /** Once a turn: all frames of one read are one batch for the engine. */
  #scheduleHanding(): void {
    if (this.#handing) return;
    this.#handing = true;
    queueMicrotask(() => {
      this.#handing = false;
      if (this.#phase !== 'running') return this.#returnUnhanded();
      const arrivals: Arrival[] = [];
      for (const held of this.#gate.take()) {
        if (!held.session.open) continue;
        held.session.held.set(held.arrival.tag, held);
        arrivals.push(held.arrival);
      }
      if (arrivals.length > 0) this.#options.onArrivals(arrivals);
      this.#watchWindow();
      this.#watchWaiting(arrivals.length > 0);
    });
  }

  /** Prefetched but not wanted any more: back to the front of their queues, unseen by the engine. */
  #returnUnhanded(): void {
    for (const held of this.#gate.clear().reverse()) if (held.session.open) this.#requeue(held);
  }

  /**
   * The engine may have credit again while the broker still counts the delivery against the prefetch (its result is being stored).
   * If that lasts, a further subscription widens the window; each at least doubles it, so there are only a few.
   */
  #watchWindow(): void {
    const session = this.#session;
    if (!session?.open || this.#phase !== 'running') return;
    let narrow = false;
    for (const { name } of this.#options.queues) {
      const missing = this.#missingPrefetch(session, name);
      if (missing === 0) continue;
      if (session.windows.has(name)) narrow = true;
      else this.#widen(session, name, missing); // it was given up for want of credit, or never had any
    }
    if (!narrow || this.#widenTimer !== undefined) return;
    this.#widenTimer = setTimeout(() => {
      this.#widenTimer = undefined;
      if (!session.open || this.#phase !== 'running') return;
      for (const { name } of this.#options.queues) {
        const missing = this.#missingPrefetch(session, name);
        if (missing > 0) this.#widen(session, name, Math.max(missing, session.windows.get(name)?.size ?? 0));
      }
    }, WIDEN_AFTER_MS);
  }

  #widen(session: Session, queue: string, prefetch: number): void {
    this.#subscribe(session, queue, Math.min(prefetch, LARGEST_PREFETCH)).catch(() => undefined); // a broken channel is made again anyway
  }

  /** How many deliveries the engine would take that the broker may not send, because the window is used up. */
  #missingPrefetch(session: Session, queue: string): number {
    const starving = this.#gate.starving(queue);
    const window = session.windows.get(queue);
    if (!window) return starving;
    return window.open >= window.size ? starving : 0;
  }

  /**
   * Messages that were prefetched and then find no credit (the slots went to another queue) are hostages: an idle worker elsewhere
   * could run them. After a moment they go back, and the queue is left until there is credit for it again.
   */
  #watchWaiting(progress: boolean): void {
    if (progress || this.#gate.waiting === 0) {
      clearTimeout(this.#returnTimer);
      this.#returnTimer = undefined;
    }
    if (this.#gate.waiting === 0 || this.#returnTimer !== undefined) return;
    this.#returnTimer = setTimeout(() => {
      this.#returnTimer = undefined;
      const session = this.#session;
      if (!session?.open || this.#phase !== 'running') return;
      for (const { name } of this.#options.queues) {
        if (!this.#gate.hasWaiting(name)) continue;
        const window = session.windows.get(name);
        session.windows.delete(name);
        const cancelled = (window?.tags ?? []).map((tag) => session.channel.cancel(tag));
        Promise.all(cancelled).catch(() => undefined).then(() => {
          // Those that were on their way when we cancelled have come by now.
          for (const held of this.#gate.clear(name, (each) => each.window === window).reverse()) if (held.session.open) this.#requeue(held);
        });
      }
    }, RETURN_AFTER_MS);
  }

  // Settling

  #ack(held: Held): void {
    const { session } = held;
    session.held.delete(held.arrival.tag);
    session.acks.finish(held.deliveryTag);
    held.window.open -= 1;
  }

  #requeue(held: Held): void {
    const { session } = held;
    session.held.delete(held.arrival.tag);
    session.acks.drop(held.deliveryTag);
    held.window.open -= 1;
    try {
      session.channel.nack({ fields: { deliveryTag: held.deliveryTag } } as ConsumeMessage, false, true);
    } catch {
      // The channel has closed under us, and the broker has put it back itself.
    }
  }

  /**
   * Writes what is finished; true once the broker has read it. AMQP does not answer acknowledgements, so a question that changes
   * nothing follows them. What finishes meanwhile is written together afterwards: the busier, the larger the batches.
   */
  #flush(session: Session): Promise<boolean> {
    session.next ??= newFlush();
    const { done } = session.next;
    if (!session.flushing) {
      session.flushing = true;
      setImmediate(() => void this.#flushAll(session));
    }
    return done;
  }

  async #flushAll(session: Session): Promise<void> {
    while (session.next) {
      const flush = session.next;
      session.next = undefined;
      try {
        this.#writeAcks(session);
        await session.channel.prefetch(1, false);
        this.#lastAliveMs = performance.now();
        flush.end(true);
      } catch {
        flush.end(false); // the channel has gone: the broker gives these to somebody else
      }
    }
    session.flushing = false;
  }

  #writeAcks(session: Session): void {
    this.#link.gather();
    session.acks.flush((deliveryTag, upTo) => session.channel.ack({ fields: { deliveryTag } } as ConsumeMessage, upTo));
  }

  /** Those that publish a copy first: confirmed, then the original is acknowledged. */
  async #settleSlowly(
    session: Session,
    slow: readonly { index: number; settlement: Settlement; held: Held }[],
    results: SettleResult[],
  ): Promise<void> {
    const copied = await this.#settler.copy(slow, (each) => session.held.has(slow[each]!.held.arrival.tag));
    const acked: number[] = [];
    slow.forEach(({ held, index }, each) => {
      if (!copied[each] || !session.held.has(held.arrival.tag)) return;
      this.#ack(held);
      acked.push(index);
    });
    if (acked.length > 0 && (await this.#flush(session))) for (const index of acked) results[index] = 'held';
  }

  // Losing the channel

  #lose(cause: Error, session = this.#session): void {
    if (!session || this.#session !== session) return;
    this.#session = undefined;
    session.open = false;
    clearTimeout(this.#widenTimer);
    clearTimeout(this.#returnTimer);
    this.#widenTimer = this.#returnTimer = undefined;
    this.#gate.clear();
    const tags = [...session.held.keys()];
    session.held.clear();
    if (this.#phase === 'closed') return;
    this.#options.onState('disconnected', cause);
    if (tags.length > 0) this.#options.onLost(tags);
  }

  async #ping(): Promise<void> {
    const session = this.#session;
    if (!session?.open || performance.now() - this.#lastAliveMs < PING_EVERY_MS / 2) return;
    const timer = setTimeout(() => this.#link.abandon(new Error('the broker did not answer a question for 10 s')), PING_ANSWER_MS);
    try {
      await session.channel.checkExchange('amq.direct');
      this.#lastAliveMs = performance.now();
    } catch {
      // the channel has gone; its `close` event does the rest
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Subscriptions take their own acknowledgement timeout since RabbitMQ 3.11.15. */
export function takesConsumerTimeout(version: string | null): boolean {
  const [major = 0, minor = 0, patch = 0] = (version ?? '').split('.').map((part) => Number.parseInt(part, 10) || 0);
  return major > 3 || (major === 3 && (minor > 11 || (minor === 11 && patch >= 15)));
}

function newFlush(): Flush {
  let end: (reached: boolean) => void = () => undefined;
  const done = new Promise<boolean>((resolve) => (end = resolve));
  return { done, end };
}
