/**
 * One subscription to several queues: credit, settlements, and recovery.
 *
 * The lease of a delivery is the channel: while it is open the broker gives the message to nobody else, and when it closes
 * (connection, 406, 404, timeout) everything on it is lost to us at once. A broken channel never ends the worker: it is made again
 * with backoff, from scratch. Frames are in `session.ts`, credit in `credit-gate.ts` and `prefetch-keeper.ts`, what a settlement
 * publishes in `settle.ts`.
 */
import type { AmqpLink, ChannelModel } from '../../clients/amqp.js';
import { reconnectDelayMs } from '../../core/backoff.js';
import { toError } from '../../core/errors.js';
import type { Arrival, ConsumeOptions, Consumer, Settlement, SettleResult } from '../broker.js';
import { CreditGate } from './credit-gate.js';
import { PrefetchKeeper, returnAll } from './prefetch-keeper.js';
import { type Held, Session } from './session.js';
import type { Settler } from './settle.js';
import type { Topology } from './topology.js';

const DECLARE_MS = 10_000;
/** While nothing moves the broker is asked something, as proof that it answers. */
const PING_EVERY_MS = 20_000;
const PING_ANSWER_MS = 10_000;

type Phase = 'running' | 'paused' | 'closed';

/** What a settlement is about, and where its answer goes. */
interface Slow {
  readonly index: number;
  readonly settlement: Settlement;
  readonly held: Held;
}

export class RabbitmqConsumer implements Consumer {
  readonly #link: AmqpLink;
  readonly #topology: Topology;
  readonly #settler: Settler;
  readonly #options: ConsumeOptions;
  readonly #gate: CreditGate<Held>;
  readonly #prefetch: PrefetchKeeper;
  readonly #onClosed: () => void;
  readonly #stopListening: () => void;
  readonly #firstTry: Promise<void>;
  readonly #pingTimer: NodeJS.Timeout;
  #triedOnce: () => void = () => undefined;
  #phase: Phase = 'running';
  #session: Session | undefined;
  #handing = false;
  #tries = 0;
  #retryTimer: NodeJS.Timeout | undefined;
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
    this.#prefetch = new PrefetchKeeper(
      this.#gate,
      options.queues.map(({ name }) => name),
    );
    this.#firstTry = new Promise((resolve) => (this.#triedOnce = resolve));
    this.#stopListening = link.listen({
      onUp: (model) => {
        this.#tries = 0;
        void this.#build(model);
      },
      onDown: (cause) => {
        clearTimeout(this.#retryTimer);
        this.#lose(cause, this.#session);
      },
    });
    this.#pingTimer = setInterval(() => void this.#ping(), PING_EVERY_MS);
    this.#pingTimer.unref();
    link.open();
  }

  /** Resolves after the first attempt to subscribe, however it went: the consumer keeps trying by itself. */
  async started(timeoutMs: number): Promise<void> {
    await within(this.#firstTry, timeoutMs);
  }

  grant(queue: string, count: number): void {
    if (this.#phase !== 'running') return;
    this.#gate.grant(queue, count);
    this.#scheduleHanding();
  }

  holds(tag: string): boolean {
    return this.#session?.held.has(tag) === true;
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    const results = new Array<SettleResult>(settlements.length).fill('lost');
    const session = this.#session;
    if (!session) return results;
    const quick: number[] = [];
    let slow: Slow[] | undefined;
    for (let index = 0; index < settlements.length; index += 1) {
      const settlement = settlements[index]!;
      const held = session.held.get(settlement.arrival.tag);
      if (!held) continue;
      if (settlement.kind === 'ack') session.ack(held);
      else if (settlement.kind === 'requeue' && settlement.where === 'front') session.requeue(held);
      else {
        (slow ??= []).push({ index, settlement, held });
        continue;
      }
      quick.push(index);
    }
    if (quick.length === 0 && !slow) return results;
    this.#settling += 1;
    try {
      if (quick.length > 0 && (await session.flush())) for (const index of quick) results[index] = 'held';
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
    this.#prefetch.stop();
    await this.#session?.unsubscribe();
    returnAll(this.#gate.clear());
  }

  async close({ timeoutMs }: { readonly timeoutMs: number }): Promise<number> {
    if (this.#phase === 'closed') return 0;
    const deadline = performance.now() + timeoutMs;
    await within(this.pause(), timeoutMs);
    if (this.#settling > 0) await within(new Promise<void>((resolve) => (this.#settled = resolve)), deadline - performance.now());
    this.#phase = 'closed';
    this.#stopListening();
    clearTimeout(this.#retryTimer);
    clearInterval(this.#pingTimer);
    this.#triedOnce();
    const session = this.#session;
    this.#session = undefined;
    const count = session?.open ? await within(session.handBack(), deadline - performance.now()) : 0;
    this.#onClosed();
    return count ?? 0;
  }

  lastAliveMs(): number {
    return this.#lastAliveMs;
  }

  // Making the channel, and losing it

  async #build(model: ChannelModel): Promise<void> {
    if (this.#phase !== 'running') return;
    let session: Session | undefined;
    try {
      await Promise.all(this.#options.queues.map((queue) => this.#topology.queue(queue.name, DECLARE_MS)));
      const channel = await model.createChannel();
      if (this.#phase !== 'running' || this.#link.model !== model) return void channel.close().catch(() => undefined);
      const built = new Session(this.#link, channel, {
        onDelivery: (held) => {
          this.#lastAliveMs = performance.now();
          this.#gate.offer(held.arrival.queue, held, this.#lastAliveMs);
          this.#scheduleHanding();
        },
        onCancelled: (queue) => void this.#subscribeAgain(built, queue),
        onAlive: () => (this.#lastAliveMs = performance.now()),
      });
      session = built;
      let cause: Error | undefined;
      channel.on('error', (error: Error) => (cause = error));
      channel.on('close', () => {
        built.open = false;
        this.#lose(cause ?? new Error('channel closed'), built);
        if (this.#link.model === model) this.#retry(model, cause ?? new Error('channel closed'));
      });
      this.#session = built;
      for (const { name } of this.#options.queues) {
        const prefetch = this.#firstPrefetch(name);
        if (prefetch > 0) await built.subscribe(name, prefetch);
      }
      this.#tries = 0;
      this.#lastAliveMs = performance.now();
      this.#options.onState('connected');
      this.#scheduleHanding();
    } catch (error) {
      this.#lose(toError(error), session);
      const broken = session?.channel;
      await Promise.resolve()
        .then(() => broken?.close())
        .catch(() => undefined);
      if (this.#link.model === model) this.#retry(model, toError(error));
    }
    this.#triedOnce();
  }

  #firstPrefetch(queue: string): number {
    return Math.min(this.#options.queues.find(({ name }) => name === queue)?.credit ?? 0, this.#options.credit);
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

  #lose(cause: Error, session: Session | undefined): void {
    if (!session || this.#session !== session) return;
    this.#session = undefined;
    session.open = false;
    this.#prefetch.stop();
    this.#gate.clear();
    const tags = [...session.held.keys()];
    session.held.clear();
    if (this.#phase === 'closed') return;
    this.#options.onState('disconnected', cause);
    if (tags.length > 0) this.#options.onLost(tags);
  }

  /** The broker ends a subscription when its queue is deleted: the others on the channel go on, and this one comes back. */
  async #subscribeAgain(session: Session, queue: string): Promise<void> {
    const { logger } = this.#options;
    logger.warn({ queue }, 'the broker ended the subscription (was the queue deleted?), making it again');
    for (let tries = 0; ; tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, reconnectDelayMs(tries, Math.random())));
      if (!session.open || this.#phase !== 'running' || session.subscribed(queue)) return;
      try {
        this.#topology.forget();
        await this.#topology.queue(queue, DECLARE_MS);
        if (session.open && this.#phase === 'running' && !session.subscribed(queue))
          await session.subscribe(queue, Math.max(1, this.#firstPrefetch(queue)));
        return;
      } catch (error) {
        logger.warn({ queue, error: toError(error).message }, 'making the subscription failed');
      }
    }
  }

  async #ping(): Promise<void> {
    const session = this.#session;
    if (!session?.open || performance.now() - this.#lastAliveMs < PING_EVERY_MS / 2) return;
    const timer = setTimeout(
      () => this.#link.abandon(new Error('the broker did not answer a question for 10 s')),
      PING_ANSWER_MS,
    );
    await session.ping().catch(() => undefined); // the channel has gone; its `close` event does the rest
    clearTimeout(timer);
  }

  // Deliveries in

  /** Once a turn: all frames of one read are one batch for the engine. */
  #scheduleHanding(): void {
    if (this.#handing) return;
    this.#handing = true;
    queueMicrotask(() => {
      this.#handing = false;
      if (this.#phase !== 'running') return returnAll(this.#gate.clear());
      const arrivals: Arrival[] = [];
      for (const held of this.#gate.take(this.#lastAliveMs)) {
        if (!held.session.open) continue;
        held.session.held.set(held.arrival.tag, held);
        arrivals.push(held.arrival);
      }
      if (arrivals.length > 0) this.#options.onArrivals(arrivals);
      if (this.#session?.open) this.#prefetch.look(this.#session);
    });
  }

  // Settling

  /** Those that publish a copy first: confirmed, then the original is acknowledged. */
  async #settleSlowly(session: Session, slow: readonly Slow[], results: SettleResult[]): Promise<void> {
    const copied = await this.#settler.copy(slow, (each) => session.held.has(slow[each]!.held.arrival.tag));
    const acked: number[] = [];
    slow.forEach(({ held, index }, each) => {
      if (!copied[each] || !session.held.has(held.arrival.tag)) return;
      session.ack(held);
      acked.push(index);
    });
    if (acked.length > 0 && (await session.flush())) for (const index of acked) results[index] = 'held';
  }
}

/** The work's value, or nothing when the time is over first; its errors count as nothing. */
async function within<T>(work: Promise<T>, timeoutMs: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => (timer = setTimeout(() => resolve(undefined), Math.max(timeoutMs, 0))));
  const value = await Promise.race([work.catch(() => undefined), late]);
  clearTimeout(timer);
  return value;
}
