/**
 * A consumer of the embedded file: its credit, its sleep and its lease. Owns when to pop, when to sleep and what wakes
 * it; what it holds is in `holdings.ts`, what happens in the database in `hand-out.ts`.
 *
 * Sleeping costs nothing: the bell is armed, one look makes sure that nothing came in between, and then only a bell, a
 * grant, a timer at the next due time or lease expiry, or the re-check after 30 s makes a query again.
 */
import type { FileSession } from '../../clients/sqlite/session.js';
import { type BackoffPolicy, backoffMs } from '../../core/backoff.js';
import { sleep, systemClock } from '../../core/clock.js';
import { BrokerError, codeOf, toError } from '../../core/errors.js';
import type { ConsumeOptions, Consumer, ConsumeWish, Delivery, Settlement, SettleResult } from '../broker.js';
import { QueueCredits } from '../queue-credits.js';
import type { PopAnswer, WatchAnswer } from './call-types.js';
import { Holdings } from './holdings.js';
import { RenewalTimer } from './renewal-timer.js';

/** So many in one transaction; the next one follows at once. */
const POP_LIMIT = 1_000;
const RETRY: BackoffPolicy = { backoff: 'exponential', baseMs: 50, capMs: 5_000, jitter: 'full' };

/** `killed`: by a test, as if the process had died. */
type Phase = 'running' | 'paused' | 'closed' | 'killed';

export class FileConsumer implements Consumer {
  readonly #session: FileSession;
  readonly #options: ConsumeOptions;
  readonly #onClosed: () => void;
  readonly #holdings: Holdings;
  readonly #credits: QueueCredits;
  readonly #stopListening: () => void;
  readonly #renewal: RenewalTimer;
  #phase: Phase = 'running';
  #connected = true;
  #aliveMs: number;
  /** A pop under way, and what comes of it. */
  #popping: Promise<boolean> | null = null;
  /** The pop loop while it runs. */
  #pumping: Promise<void> | null = null;
  /** Something happened since the loop last looked. */
  #stirred = false;
  /** Queues that were found empty before falling asleep; `null` while awake. */
  #asleepOn: ReadonlySet<string> | null = null;
  #cancelWake: (() => void) | null = null;

  constructor(session: FileSession, options: ConsumeOptions, onClosed: () => void) {
    this.#session = session;
    this.#options = options;
    this.#onClosed = onClosed;
    this.#holdings = new Holdings(options.consumerName, options.leaseMs);
    this.#credits = new QueueCredits(options);
    this.#renewal = new RenewalTimer(options.leaseMs, () => void this.#renew());
    this.#aliveMs = systemClock.monotonicMs();
    this.#stopListening = session.bell.listen('messages', () => this.#stir());
    options.onState('connected');
    this.#stir();
  }

  grant(queue: string, count: number): void {
    if (this.#phase !== 'running') return;
    this.#credits.grant(queue, count);
    // asleep on this queue with credit to spare: it is empty, and more credit changes nothing
    if (this.#asleepOn?.has(queue) && this.#credits.left > count) return;
    this.#stir();
  }

  async change(wish: ConsumeWish): Promise<void> {
    this.#credits.change(wish);
    // The pop under way may still bring some of a queue that was left.
    const popping = this.#popping;
    this.#stir();
    await popping?.catch(() => undefined);
  }

  /**
   * A lease that was denied once is given up for good: the engine has dropped the outcome by then, and renewing it later
   * would keep the message for ever.
   */
  holds(tag: string): boolean {
    if (this.#phase === 'killed' || !this.#holdings.has(tag)) return false;
    if (this.#holdings.isSure()) return true;
    const { holder } = this.#holdings;
    if (holder !== null) {
      const lost = this.#holdings.lose(holder);
      queueMicrotask(() => this.#options.onLost(lost));
      // No loss: this worker lives. If it fails, the lease runs out by itself.
      this.#session.call('leave', { holder }, { mode: 'relaxed' }).catch(() => undefined);
    }
    return false;
  }

  async secure({ tag }: Delivery): Promise<boolean> {
    const place = this.#phase === 'running' ? this.#holdings.placeOf(tag) : null;
    if (!place) return false;
    const options = { mode: 'relaxed', deadlineMs: Date.now() + this.#options.leaseMs } as const;
    try {
      if (!(await this.#session.call<boolean>('secure', place, options))) this.#lose(place.holder);
    } catch (error) {
      const { message } = toError(error);
      this.#options.logger.warn(
        { error: message },
        'a delivery could not be secured: should this worker die now, it may not be counted',
      );
    }
    return this.#phase === 'running' && this.holds(tag);
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    if (this.#phase === 'killed') throw new BrokerError('E_CLOSED', `${this.#session.location.path} was used after close()`);
    const { argument, results, durable, release } = this.#holdings.take(settlements);
    if (!argument) return results;
    const held = await this.#insist<boolean>('settle', argument, durable ? 'durable' : 'relaxed', settlements.length);
    release();
    if (held) return results;
    this.#lose(argument.holder);
    return results.map(() => 'lost');
  }

  async pause(): Promise<void> {
    if (this.#phase === 'running') this.#phase = 'paused';
    this.#quiet();
    await this.#pumping;
  }

  async close({ timeoutMs }: { readonly timeoutMs: number }): Promise<number> {
    if (this.#phase === 'closed' || this.#phase === 'killed') return 0;
    const deadline = AbortSignal.timeout(timeoutMs);
    await this.#orAbort(this.pause(), deadline, undefined);
    this.#phase = 'closed';
    this.#end();
    const holder = this.#holdings.holder;
    if (holder === null) return 0;
    // With the holder row goes everything that it had, back to its old place and without a loss.
    const left = this.#session.call<number>('leave', { holder }, { mode: 'relaxed', deadlineMs: Date.now() + timeoutMs });
    const count = await this.#orAbort(left, deadline, 0);
    this.#holdings.clear();
    return count;
  }

  lastAliveMs(): number {
    return this.#aliveMs;
  }

  /** As if the process had been killed: nothing is handed back and the lease runs out. For tests. */
  kill(): void {
    this.#phase = 'killed';
    this.#end();
  }

  /** As if every lease of this consumer had run out and somebody had taken over. For tests. */
  async loseAll(): Promise<void> {
    const { holder } = this.#holdings;
    if (holder === null) return;
    await this.#session.call('expire', { holder }, { mode: 'relaxed' });
    this.#lose(holder);
  }

  /** Pops soon, in one go with what else happens in this turn. */
  #stir(): void {
    this.#stirred = true;
    if (this.#pumping || this.#phase !== 'running') return;
    this.#quiet();
    this.#pumping = Promise.resolve()
      .then(() => this.#pump())
      .finally(() => {
        this.#pumping = null;
        if (this.#stirred) this.#stir();
      });
  }

  /** Stops waiting for a time. */
  #quiet(): void {
    this.#asleepOn = null;
    this.#cancelWake?.();
    this.#cancelWake = null;
  }

  async #pump(): Promise<void> {
    for (let failures = 0; this.#phase === 'running'; ) {
      this.#stirred = false;
      const queues = this.#credits.wanted(POP_LIMIT);
      if (queues.length === 0) return;
      try {
        this.#popping = this.#pop(queues);
        const popped = await this.#popping.finally(() => {
          this.#popping = null;
        });
        if (this.#phase !== 'running') return;
        if (this.#credits.left > 0 && !popped && !this.#stirred && (await this.#fallAsleep())) return;
        failures = 0;
      } catch (error) {
        if (codeOf(error) === 'E_CLOSED' || this.#phase !== 'running') return;
        failures += 1;
        await this.#disconnected(error, failures);
      }
    }
  }

  /** `true` if there may be more. */
  async #pop(queues: readonly { readonly name: string; readonly limit: number }[]): Promise<boolean> {
    const { leaseMs, consumerName } = this.#options;
    const limit = Math.min(this.#credits.left, POP_LIMIT);
    const startedMs = systemClock.monotonicMs();
    const asked = this.#holdings.holder;
    const argument = { holder: asked, name: consumerName, leaseMs, queues, limit };
    const { holder, rows, more, revocations } = await this.#session.call<PopAnswer>('pop', argument, {
      mode: 'relaxed',
      weight: limit,
    });
    this.#alive();
    this.#options.onRevocations?.(revocations);
    if (holder === null || rows.length === 0 || this.#phase === 'killed') return more;
    if (asked !== null && holder !== asked) this.#lose(asked);
    const arrivals = this.#holdings.add(holder, rows, startedMs);
    this.#renewal.plan();
    // Paused or closing meanwhile: back they go, as if never taken.
    if (this.#phase !== 'running') {
      const back = arrivals.flatMap((arrival): Settlement[] =>
        arrival.kind === 'delivery' ? [{ kind: 'requeue', arrival, where: 'front' }] : [],
      );
      await this.settle(back).catch(() => undefined);
      return false;
    }
    for (const { queue } of arrivals) this.#credits.take(queue, 1);
    this.#options.onArrivals(arrivals);
    return more || rows.length === limit;
  }

  /** `false` if there is something to do after all. */
  async #fallAsleep(): Promise<boolean> {
    const queues = this.#credits.wanted(POP_LIMIT).map(({ name }) => name);
    if (queues.length === 0) return true;
    const longestMs = this.#session.bell.arm('messages');
    const watched = await this.#session.call<WatchAnswer>('watch', { queues, holder: this.#holdings.holder }, { mode: 'read' });
    this.#alive();
    if (watched.ready || this.#stirred || this.#phase !== 'running') return false;
    const waitMs = watched.nextMs === null ? longestMs : Math.min(Math.max(watched.nextMs - Date.now(), 1), longestMs);
    this.#asleepOn = new Set(queues);
    this.#cancelWake = systemClock.after(waitMs, () => this.#stir());
    return true;
  }

  async #renew(): Promise<void> {
    const { holder } = this.#holdings;
    if (holder === null || this.#holdings.size === 0 || this.#phase === 'killed') return;
    const startedMs = systemClock.monotonicMs();
    try {
      const { leaseMs } = this.#options;
      const kept = await this.#session.call<boolean>('renew', { holder, leaseMs }, { mode: 'relaxed' });
      this.#alive();
      if (kept) this.#holdings.renewed(holder, startedMs);
      else this.#lose(holder);
    } catch (error) {
      this.#options.logger.warn({ err: toError(error), holder }, 'the lease could not be renewed; trying again');
      if (this.#holdings.size > 0) this.#renewal.plan(true);
    }
    if (this.#holdings.size > 0) this.#renewal.plan();
  }

  #lose(holder: number): void {
    const tags = this.#holdings.lose(holder);
    if (tags.length > 0) this.#options.onLost(tags);
  }

  #alive(): void {
    this.#aliveMs = systemClock.monotonicMs();
    if (this.#connected) return;
    this.#connected = true;
    this.#options.onState('connected');
  }

  async #disconnected(error: unknown, failures: number): Promise<void> {
    if (this.#connected) {
      this.#connected = false;
      this.#options.onState('disconnected', toError(error));
    }
    await sleep(backoffMs(RETRY, failures, Math.random()));
  }

  /** Tries until it works: what was settled must not come back because a disk was full for a minute. */
  async #insist<Value>(name: string, argument: unknown, mode: 'durable' | 'relaxed', weight: number): Promise<Value> {
    for (let failures = 1; ; failures += 1) {
      try {
        const value = await this.#session.call<Value>(name, argument, { mode, weight });
        this.#alive();
        return value;
      } catch (error) {
        if (codeOf(error) === 'E_CLOSED' || this.#phase === 'closed' || this.#phase === 'killed') throw error;
        await this.#disconnected(error, failures);
      }
    }
  }

  async #orAbort<Value>(work: Promise<Value>, signal: AbortSignal, otherwise: Value): Promise<Value> {
    const aborted = new Promise<Value>((resolve) => signal.addEventListener('abort', () => resolve(otherwise), { once: true }));
    return Promise.race([work.catch(() => otherwise), aborted]);
  }

  #end(): void {
    this.#stopListening();
    this.#quiet();
    this.#renewal.stop();
    this.#onClosed();
  }
}
