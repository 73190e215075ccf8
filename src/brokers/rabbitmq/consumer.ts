/**
 * One subscription to several queues: credit, settlements, and recovery.
 *
 * The lease of a delivery is the channel: while it is open the broker gives the message to nobody else, and when it closes
 * (connection, 406, 404, timeout) everything on it is lost to us at once. A broken channel never ends the worker: it is made again
 * with backoff, from scratch. Frames are in `session.ts`, credit in `credit-gate.ts` and `prefetch-keeper.ts`, what a settlement
 * publishes in `settle.ts`.
 */
import { type AmqpLink, type ChannelModel, retryDelayMs } from '../../clients/amqp.js';
import type { ConfirmPublisher } from '../../clients/amqp-publisher.js';
import type { SetupChannel } from '../../clients/amqp-setup.js';
import { closeChannel, within } from '../../clients/within.js';
import { toError } from '../../core/errors.js';
import type { Arrival, ConsumeOptions, Consumer, ConsumeWish, Delivery, Settlement, SettleResult } from '../broker.js';
import { changeQueues } from './change-queues.js';
import { Claims } from './claims.js';
import type { ConsumerTimeout } from './consumer-timeout.js';
import { CreditGate } from './credit-gate.js';
import { giveBack, handBackOf } from './give-back.js';
import { goesBackByCopy, type Held } from './held.js';
import type { Holders } from './holders.js';
import { Inquests } from './inquests.js';
import { depth } from './inspect.js';
import { takeOrphans } from './orphans.js';
import { PrefetchKeeper } from './prefetch-keeper.js';
import { Session } from './session.js';
import type { Settler, Slow } from './settle.js';
import { subscribeAgain } from './subscribe-again.js';
import type { Topology } from './topology.js';
import { Watchdog } from './watchdog.js';

const DECLARE_MS = 10_000;

type Phase = 'running' | 'paused' | 'closed';

/** What a consumer shares with the others of its broker. */
export interface ConsumerParts {
  readonly link: AmqpLink;
  readonly setup: SetupChannel;
  readonly topology: Topology;
  readonly publisher: ConfirmPublisher;
  readonly settler: Settler;
  readonly timeout: ConsumerTimeout;
  readonly holders: Holders;
}

export class RabbitmqConsumer implements Consumer {
  readonly #parts: ConsumerParts;
  readonly #options: ConsumeOptions;
  readonly #gate: CreditGate<Held>;
  readonly #prefetch: PrefetchKeeper;
  readonly #onClosed: () => void;
  readonly #stopListening: () => void;
  readonly #firstTry: Promise<void>;
  readonly #watchdog: Watchdog;
  readonly #inquests: Inquests;
  #wish: ConsumeWish;
  #changing: Promise<void> = Promise.resolve();
  #triedOnce: () => void = () => undefined;
  #phase: Phase = 'running';
  #session: Session | undefined;
  #claims: Claims | undefined;
  #handing = false;
  #tries = 0;
  #retryTimer: NodeJS.Timeout | undefined;
  #settling = 0;
  #settled: (() => void) | undefined;

  constructor(parts: ConsumerParts, options: ConsumeOptions, onClosed: () => void) {
    this.#parts = parts;
    const { link } = parts;
    this.#options = options;
    this.#onClosed = onClosed;
    this.#wish = options;
    this.#gate = new CreditGate(options.queues, options.credit);
    this.#prefetch = new PrefetchKeeper(
      this.#gate,
      () => this.#wish.queues.map(({ name }) => name),
      (waiting) => this.#giveBack(waiting),
    );
    this.#watchdog = new Watchdog({
      session: () => this.#session,
      hungry: () =>
        this.#wish.queues.flatMap(({ name }) => (this.#gate.starving(name) > 0 && !this.#session?.full(name) ? [name] : [])),
      ready: async (queue) => (await depth(parts.setup, [queue]))[0]?.ready ?? 0,
      abandon: (cause) => link.abandon(cause),
      rebuild: (queue) => {
        options.logger.warn({ queue }, 'messages wait in the queue and do not come: making the subscription again');
        void closeChannel(this.#session?.channel); // its `close` event does the rest
      },
    });
    this.#inquests = new Inquests(parts.holders, options.leaseMs, options.logger, (held) => this.#offer(held));
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
    link.open();
  }

  /** Resolves after the first attempt to subscribe, however it went: the consumer keeps trying by itself. */
  async started(timeoutMs: number): Promise<void> {
    await within(this.#firstTry, timeoutMs);
  }

  change(wish: ConsumeWish): Promise<void> {
    const changed = this.#changing.then(() => {
      this.#wish = wish;
      return changeQueues(wish, {
        ...{ gate: this.#gate, session: this.#session, look: () => this.#scheduleHanding() },
        giveBack: (waiting) => this.#giveBack(waiting),
        takeOrphans: (queue, session) => void takeOrphans(queue, { ...this.#parts, session, logger: this.#options.logger }),
      });
    });
    this.#changing = changed.catch(() => undefined);
    return changed;
  }

  grant(queue: string, count: number): void {
    if (this.#phase !== 'running') return;
    this.#gate.grant(queue, count);
    this.#scheduleHanding();
  }

  holds(tag: string): boolean {
    return this.#session?.held.has(tag) === true;
  }

  async secure({ tag }: Delivery): Promise<boolean> {
    const held = this.#session?.held.get(tag);
    if (held && this.#phase === 'running') await this.#claims?.secure(held);
    return this.#phase === 'running' && this.holds(tag);
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
      else if (settlement.kind === 'requeue' && settlement.where === 'front' && !goesBackByCopy(held)) session.requeue(held);
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
      if (slow) await this.#parts.settler.settle(session, slow, results, this.#options.consumerName);
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
    this.#giveBack([...this.#inquests.clear(), ...this.#gate.clear()]);
  }

  async close({ timeoutMs }: { readonly timeoutMs: number }): Promise<number> {
    if (this.#phase === 'closed') return 0;
    const deadline = performance.now() + timeoutMs;
    const leftMs = (): number => deadline - performance.now();
    await within(this.pause(), timeoutMs);
    if (this.#claims) await within(this.#claims.finish(), leftMs());
    const copies = [...(this.#session?.held.values() ?? [])].filter(goesBackByCopy);
    const copied = await within(this.settle(copies.map(({ arrival }) => handBackOf(arrival))), leftMs());
    if (this.#settling > 0) await within(new Promise<void>((resolve) => (this.#settled = resolve)), leftMs());
    this.#phase = 'closed';
    this.#claims?.stop();
    this.#stopListening();
    clearTimeout(this.#retryTimer);
    this.#watchdog.close();
    this.#triedOnce();
    const session = this.#session;
    this.#session = undefined;
    const count = session?.open ? await within(session.handBack(), leftMs()) : 0;
    this.#onClosed();
    return (count ?? 0) + (copied?.filter((result) => result === 'held').length ?? 0);
  }

  lastAliveMs(): number {
    return this.#watchdog.lastAliveMs;
  }

  async #build(model: ChannelModel): Promise<void> {
    if (this.#phase !== 'running') return;
    const { logger, leaseMs } = this.#options;
    let session: Session | undefined;
    try {
      await Promise.all(this.#wish.queues.map((queue) => this.#parts.topology.consumed(queue.name, DECLARE_MS)));
      const channel = await model.createChannel();
      if (this.#phase !== 'running' || this.#parts.link.model !== model) return void closeChannel(channel);
      const built = new Session(this.#parts.link, channel, this.#parts.timeout, {
        onDelivery: (held) => {
          this.#watchdog.delivered();
          if (held.holder === null) this.#offer(held);
          else this.#inquests.open(held, held.holder);
        },
        onCancelled: (queue) =>
          void subscribeAgain(queue, {
            ...{ session: built, topology: this.#parts.topology, logger },
            prefetch: Math.max(1, this.#firstPrefetch(queue)),
            wanted: () => this.#phase === 'running' && this.#firstPrefetch(queue) > 0,
          }),
        onOrphansCancelled: (queue) => void takeOrphans(queue, { ...this.#parts, session: built, logger, isDeleted: true }),
        onAlive: () => this.#watchdog.answered(),
      });
      session = built;
      let cause: Error | undefined;
      channel.on('error', (error: Error) => (cause = error));
      channel.on('close', () => {
        built.open = false;
        this.#parts.timeout.learn(cause);
        this.#lose(cause ?? new Error('channel closed'), built);
        if (this.#parts.link.model === model) this.#retry(model, cause ?? new Error('channel closed'));
      });
      this.#session = built;
      const afterMs = this.#parts.timeout.claimAfterMs(this.#parts.link.serverVersion);
      this.#claims = new Claims({ ...this.#parts, session: built, logger, leaseMs, afterMs });
      for (const { name } of this.#wish.queues) {
        const prefetch = this.#firstPrefetch(name);
        if (prefetch > 0 && !built.subscribed(name)) await built.subscribe(name, prefetch);
        void takeOrphans(name, { ...this.#parts, session: built, logger });
      }
      this.#tries = 0;
      this.#watchdog.answered();
      this.#options.onState('connected');
      this.#scheduleHanding();
    } catch (error) {
      this.#lose(toError(error), session);
      await closeChannel(session?.channel);
      if (this.#parts.link.model === model) this.#retry(model, toError(error));
    }
    this.#triedOnce();
  }

  #firstPrefetch(queue: string): number {
    return Math.min(this.#wish.queues.find(({ name }) => name === queue)?.credit ?? 0, this.#wish.credit);
  }

  #retry(model: ChannelModel, cause: Error): void {
    if (this.#phase !== 'running') return;
    clearTimeout(this.#retryTimer);
    const delayMs = retryDelayMs(this.#tries);
    this.#tries += 1;
    this.#options.logger.warn({ error: cause.message, retryInMs: delayMs }, 'subscription broken, making it again');
    this.#parts.topology.forget();
    this.#retryTimer = setTimeout(() => void (this.#parts.link.model === model && this.#build(model)), delayMs);
  }

  #lose(cause: Error, session: Session | undefined): void {
    if (!session || this.#session !== session) return;
    this.#session = undefined;
    session.open = false;
    this.#claims?.stop();
    this.#claims = undefined;
    this.#prefetch.stop();
    this.#gate.clear();
    this.#inquests.clear();
    const tags = [...session.held.keys()];
    session.held.clear();
    if (this.#phase === 'closed') return;
    this.#options.onState('disconnected', cause);
    if (tags.length > 0) this.#options.onLost(tags);
  }

  /** What nothing stands in the way of waits for credit only. Its queue may have been left while its last holder was looked for. */
  #offer(held: Held): void {
    if (this.#gate.offer(held.arrival.queue, held, this.#watchdog.lastAliveMs, held.isOrphan)) this.#scheduleHanding();
    else this.#giveBack([held]);
  }

  /** Once a turn: all frames of one read are one batch for the engine. */
  #scheduleHanding(): void {
    if (this.#handing) return;
    this.#handing = true;
    queueMicrotask(() => {
      this.#handing = false;
      if (this.#phase !== 'running') return this.#giveBack(this.#gate.clear());
      this.#handOver(this.#gate.take(this.#watchdog.lastAliveMs));
      if (this.#session?.open) this.#prefetch.look(this.#session);
    });
  }

  #handOver(ready: readonly Held[]): void {
    const arrivals: Arrival[] = [];
    for (const held of ready) {
      if (!held.session.open) continue;
      held.session.held.set(held.arrival.tag, held);
      arrivals.push(held.arrival);
    }
    if (arrivals.length > 0) this.#options.onArrivals(arrivals);
  }

  #giveBack(waiting: readonly Held[]): void {
    giveBack(waiting, (settlements) => void this.settle(settlements));
  }
}
