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
  handed: boolean;
}

/** One life of the channel. */
interface Session {
  readonly channel: Channel;
  readonly number: number;
  readonly acks: AckBatch;
  readonly held: Map<string, Held>;
  /** Subscriptions and the sum of their prefetch, by queue. */
  readonly windows: Map<string, { tags: string[]; size: number }>;
  flushing: boolean;
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

  settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    const results = new Array<SettleResult>(settlements.length).fill('lost');
    let slow: { index: number; settlement: Settlement; held: Held }[] | undefined;
    for (let index = 0; index < settlements.length; index += 1) {
      const settlement = settlements[index]!;
      const held = this.#session?.held.get(settlement.arrival.tag);
      if (!held) continue;
      if (settlement.kind === 'ack') {
        this.#ack(held);
        results[index] = 'held';
      } else if (settlement.kind === 'requeue' && settlement.where === 'front') {
        if (this.#requeue(held)) results[index] = 'held';
      } else (slow ??= []).push({ index, settlement, held });
    }
    return slow ? this.#settleSlowly(slow, results) : Promise.resolve(results);
  }

  async pause(): Promise<void> {
    if (this.#phase !== 'running') return;
    this.#phase = 'paused';
    clearTimeout(this.#widenTimer);
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
    clearInterval(this.#pingTimer);
    this.#triedOnce();
    const session = this.#session;
    this.#session = undefined;
    let count = 0;
    if (session?.open) {
      session.open = false;
      count = session.held.size;
      try {
        this.#flush(session);
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
    const window = session.windows.get(queue) ?? { tags: [], size: 0 };
    session.windows.set(queue, window);
    window.size += prefetch;
    // Two frames one after the other on one channel: the limit is that of the subscriptions made after it.
    const [, consumed] = await Promise.all([
      session.channel.prefetch(Math.min(prefetch, LARGEST_PREFETCH), false),
      session.channel.consume(queue, (message) => this.#onMessage(session, queue, message), {
        noAck: false,
        arguments: takesConsumerTimeout(this.#link.serverVersion) ? { 'x-consumer-timeout': CONSUMER_TIMEOUT_MS } : {},
      }),
    ]);
    window.tags.push(consumed.consumerTag);
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

  #onMessage(session: Session, queue: string, received: ConsumeMessage | null): void {
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
    this.#gate.offer(queue, { arrival, received: arrival.kind === 'garbage' ? received : null, deliveryTag, session, handed: false });
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
        held.handed = true;
        held.session.held.set(held.arrival.tag, held);
        arrivals.push(held.arrival);
      }
      if (arrivals.length > 0) this.#options.onArrivals(arrivals);
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
    if (this.#widenTimer !== undefined || !this.#options.queues.some(({ name }) => this.#tooNarrow(name) > 0)) return;
    this.#widenTimer = setTimeout(() => {
      this.#widenTimer = undefined;
      const session = this.#session;
      if (!session?.open || this.#phase !== 'running') return;
      for (const { name } of this.#options.queues) {
        const missing = this.#tooNarrow(name);
        if (missing === 0) continue;
        const size = session.windows.get(name)?.size ?? 0;
        this.#subscribe(session, name, Math.max(missing, Math.min(size, LARGEST_PREFETCH))).catch(() => undefined); // a broken channel is made again anyway
      }
    }, WIDEN_AFTER_MS);
  }

  #tooNarrow(queue: string): number {
    const session = this.#session;
    const starving = this.#gate.starving(queue);
    if (!session?.open || starving === 0) return 0;
    const window = session.windows.get(queue);
    if (!window) return this.#options.queues.some((each) => each.name === queue && Math.min(each.credit, this.#options.credit) === 0) ? starving : 0;
    return session.acks.open >= window.size ? Math.max(0, session.acks.open + starving - window.size) : 0;
  }

  // Settling

  #ack(held: Held): void {
    const { session } = held;
    session.held.delete(held.arrival.tag);
    session.acks.finish(held.deliveryTag);
    if (session.flushing) return;
    session.flushing = true;
    setImmediate(() => {
      session.flushing = false;
      if (session.open) this.#flush(session);
    });
  }

  #flush(session: Session): void {
    try {
      session.acks.flush((deliveryTag, upTo) => session.channel.ack({ fields: { deliveryTag } } as ConsumeMessage, upTo));
    } catch {
      // The channel has closed under us: the broker delivers these again, and `close` tells the engine about the rest.
    }
  }

  #requeue(held: Held): boolean {
    const { session } = held;
    session.held.delete(held.arrival.tag);
    session.acks.drop(held.deliveryTag);
    try {
      session.channel.nack({ fields: { deliveryTag: held.deliveryTag } } as ConsumeMessage, false, true);
      return true;
    } catch {
      return false;
    }
  }

  /** Those that publish a copy first: confirmed, then the original is acknowledged. */
  async #settleSlowly(slow: readonly { index: number; settlement: Settlement; held: Held }[], results: SettleResult[]): Promise<readonly SettleResult[]> {
    this.#settling += 1;
    try {
      const stillOurs = (each: number): boolean => this.#phase !== 'closed' && slow[each]!.held.session.open;
      const copied = await this.#settler.copy(slow, stillOurs);
      for (let each = 0; each < slow.length; each += 1) {
        const { held, index } = slow[each]!;
        if (!copied[each] || !held.session.held.has(held.arrival.tag)) continue;
        this.#ack(held);
        results[index] = 'held';
      }
      return results;
    } finally {
      this.#settling -= 1;
      if (this.#settling === 0) this.#settled?.();
    }
  }

  // Losing the channel

  #lose(cause: Error, session = this.#session): void {
    if (!session || this.#session !== session) return;
    this.#session = undefined;
    session.open = false;
    clearTimeout(this.#widenTimer);
    this.#widenTimer = undefined;
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
