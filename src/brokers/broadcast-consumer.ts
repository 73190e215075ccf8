/**
 * A consumer with broadcast queues among its queues. What is heard on their exchanges waits in the memory of this worker, from where
 * it is delivered, put off and retried as from any queue; what a driver's own queues deliver passes through.
 *
 * Bounded: so many messages and bytes a worker, beyond which it misses what comes, and says so. What is here when the worker stops or
 * dies is gone: each listener had its copy for itself.
 */
import { reconnectDelayMs } from '../core/backoff.js';
import { sleep } from '../core/clock.js';
import { codeOf, toError } from '../core/errors.js';
import type { WireMessage } from '../wire/message.js';
import type {
  Broker,
  ConsumedQueue,
  ConsumeOptions,
  Consumer,
  ConsumeWish,
  Delivery,
  Settlement,
  SettleResult,
  Subscription,
} from './broker.js';
import { MemoryConsumer } from './memory/consumer.js';
import { MemorySpace } from './memory/space.js';
import type { BroadcastRows } from './queue-table.js';

/** What a worker may have heard and not finished. */
export const BROADCAST_LIMITS = { messages: 10_000, bytes: 64 * 1024 * 1024 } as const;

/** One exchange that is listened to. */
interface Ear {
  readonly closing: AbortController;
  /** Resolves after the first try. */
  readonly tried: Promise<void>;
  subscription: Subscription | null;
}

export class BroadcastConsumer implements Consumer {
  /** Resolves once each broadcast queue has been tried for the first time: a worker works without, and it goes on trying. */
  readonly listening: Promise<void>;
  readonly #others: Consumer;
  readonly #broker: Broker;
  readonly #rows: BroadcastRows;
  readonly #options: ConsumeOptions;
  readonly #space = new MemorySpace({ maxMessages: BROADCAST_LIMITS.messages });
  readonly #heard: MemoryConsumer;
  /** By queue. Bounded by the table. */
  readonly #ears = new Map<string, Ear>();
  /** Of bodies that are here. */
  #bytes = 0;
  #missed = 0;

  constructor(others: Consumer, broker: Broker, rows: BroadcastRows, options: ConsumeOptions) {
    this.#others = others;
    this.#broker = broker;
    this.#rows = rows;
    this.#options = options;
    const { onRevocations: _told, ...own } = options;
    const queues = this.#own(options.queues);
    this.#heard = new MemoryConsumer(
      this.#space,
      { ...own, queues, consumerName: `${options.consumerName}:broadcast` },
      () => undefined,
    );
    this.#space.consumers.add(this.#heard);
    this.listening = this.#listenTo(queues);
  }

  async change(wish: ConsumeWish): Promise<void> {
    const own = this.#own(wish.queues);
    const queues = wish.queues.filter(({ name }) => !this.#rows.has(name));
    const left = [...this.#ears.keys()].filter((queue) => !own.some(({ name }) => name === queue));
    await Promise.all([
      this.#others.change({ ...wish, queues }),
      this.#heard.change({ ...wish, queues: own }),
      ...left.map((queue) => this.#stopListening(queue)),
      this.#listenTo(own),
    ]);
  }

  grant(queue: string, count: number): void {
    (this.#rows.has(queue) ? this.#heard : this.#others).grant(queue, count);
  }

  holds(tag: string): boolean {
    return this.#heard.holds(tag) || this.#others.holds(tag);
  }

  secure(delivery: Delivery): Promise<boolean> {
    return (this.#rows.has(delivery.queue) ? this.#heard : this.#others).secure(delivery);
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    const isOwn = ({ arrival }: Settlement): boolean => this.#rows.has(arrival.queue);
    if (!settlements.some(isOwn)) return this.#others.settle(settlements);
    const [own, others] = await Promise.all([
      this.#settleOwn(settlements.filter(isOwn)),
      this.#others.settle(settlements.filter((settlement) => !isOwn(settlement))),
    ]);
    let nextOwn = 0;
    let nextOther = 0;
    return settlements.map((each) => (isOwn(each) ? own[nextOwn++] : others[nextOther++]) ?? 'lost');
  }

  async pause(): Promise<void> {
    await Promise.all([this.#heard.pause(), this.#others.pause(), this.#deafen()]);
  }

  /** Copies of broadcasts cannot be handed back to anybody, so they are not in the count. */
  async close(options: { readonly timeoutMs: number }): Promise<number> {
    const [handedBack] = await Promise.all([this.#others.close(options), this.#deafen()]);
    const waiting = [...this.#space.queues.values()].reduce((sum, { total }) => sum + total, 0);
    await this.#heard.close();
    if (waiting > 0) this.#options.logger.warn({ count: waiting }, 'broadcasts that this worker had not run are gone with it');
    this.#space.dispose();
    return handedBack;
  }

  lastAliveMs(): number {
    return this.#others.lastAliveMs();
  }

  warnings(): readonly string[] {
    return this.#others.warnings?.() ?? [];
  }

  #own(queues: readonly ConsumedQueue[]): readonly ConsumedQueue[] {
    return queues.filter(({ name }) => this.#rows.has(name));
  }

  async #settleOwn(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    const results = await this.#heard.settle(settlements);
    settlements.forEach((settlement, index) => {
      if (results[index] !== 'held' || settlement.kind === 'requeue') return;
      const { arrival } = settlement;
      if (arrival.kind === 'delivery') this.#bytes -= sizeOf(arrival.message);
      if (settlement.kind === 'defer') this.#bytes += sizeOf(settlement.message ?? (arrival as Delivery).message);
      // Fifty workers would park fifty copies of it.
      if (settlement.kind === 'park')
        this.#options.logger.error({ queue: arrival.queue, ...settlement.reason }, 'a broadcast that cannot run was dropped');
    });
    this.#space.dead.clear();
    return results;
  }

  /** Resolves when each has been tried once. */
  async #listenTo(queues: readonly ConsumedQueue[]): Promise<void> {
    await Promise.all(
      queues.map(({ name }) => {
        let ear = this.#ears.get(name);
        if (!ear) {
          let triedOnce: () => void = () => undefined;
          const tried = new Promise<void>((resolve) => (triedOnce = resolve));
          ear = { closing: new AbortController(), tried, subscription: null };
          this.#ears.set(name, ear);
          void this.#open(name, ear, triedOnce);
        }
        return ear.tried;
      }),
    );
  }

  async #open(queue: string, ear: Ear, triedOnce: () => void): Promise<void> {
    const { logger } = this.#options;
    const { signal } = ear.closing;
    const exchange = this.#rows.get(queue)?.exchange ?? queue;
    for (let tries = 0; !signal.aborted; tries += 1) {
      try {
        const hear = ({ message }: { readonly message: WireMessage }): void => this.#hear(queue, ear, message);
        const subscription = await this.#broker.listen(exchange, '#', hear);
        if (signal.aborted) await subscription.close();
        else ear.subscription = subscription;
        return triedOnce();
      } catch (error) {
        triedOnce();
        if (codeOf(error) === 'E_CLOSED') return;
        if (tries === 0) logger.warn({ queue, error: toError(error).message }, 'broadcasts cannot be heard; trying again');
        await sleep(reconnectDelayMs(tries, Math.random()), signal).catch(() => {});
      }
    }
  }

  async #stopListening(queue: string): Promise<void> {
    const ear = this.#ears.get(queue);
    this.#ears.delete(queue);
    ear?.closing.abort();
    await ear?.subscription?.close();
  }

  async #deafen(): Promise<void> {
    await Promise.all([...this.#ears.keys()].map((queue) => this.#stopListening(queue)));
  }

  #hear(queue: string, ear: Ear, message: WireMessage): void {
    if (ear.closing.signal.aborted) return;
    const size = sizeOf(message);
    const hasRoom = this.#bytes + size <= BROADCAST_LIMITS.bytes;
    if (hasRoom && this.#space.accept({ to: { queue }, message }) === null) {
      this.#bytes += size;
      return;
    }
    this.#missed += 1;
    // Once for each power of ten: whoever is that far behind has no time to write lines.
    if (/^10*$/.test(String(this.#missed)))
      this.#options.logger.warn({ queue, missed: this.#missed }, 'this worker is too far behind: it has missed broadcasts');
  }
}

const sizeOf = ({ body }: WireMessage): number => body.data.length;
