/**
 * A consumer of several queues: credit, pops and wake-ups. Leases are in `leases.ts`, settling in `settle.ts`, housekeeping
 * (take-over of dead workers' messages, delayed messages) in `housekeeping.ts`.
 *
 * One command at a time takes messages: a pop while another is under way would spend the same credit twice. A pop that
 * leaves credit over has found its queues empty, and has armed client tracking on them in the same step; such a queue is
 * `dry` until a push says otherwise, so an idle consumer sends nothing.
 */
import { randomBytes } from 'node:crypto';
import { redisErrorCode } from '../../clients/redis.js';
import { codeOf, toError } from '../../core/errors.js';
import type { ConsumeOptions, Consumer, ConsumeWish, Delivery, Settlement, SettleResult } from '../broker.js';
import type { LinkListener, RedisLinks } from './connection.js';
import { HeldMessages } from './held.js';
import { RedisHousekeeping } from './housekeeping.js';
import { TAG_PREFIX } from './keys.js';
import { RedisLeases } from './leases.js';
import { type QueueState, QueueStates } from './queues.js';
import { RedisSettler } from './settle.js';
import { type Asked, Deliveries, fetchBatch, findUnanswered, type Taken } from './taken.js';
import { Wishes } from './wishes.js';

type Phase = 'running' | 'paused' | 'closed';

/** After a refusal that is no lost connection (loading, read-only, a script error). */
const REFUSED_AGAIN_MS = 500;
/** Waking costs a fleet at most this much when it runs for one message. */
const LARGEST_JITTER_MS = 16;

export class RedisConsumer implements Consumer, LinkListener {
  readonly options: ConsumeOptions;
  readonly links: RedisLinks;
  readonly held = new HeldMessages();
  readonly queues: QueueStates;
  readonly #settler: RedisSettler;
  readonly #housekeeping: RedisHousekeeping;
  readonly leases: RedisLeases;
  readonly deliveries: Deliveries;
  readonly #onClosed: () => void;
  readonly #identity: string;
  credit: number;
  lastTag = 0;
  asked: Asked | null = null;
  /** Commands whose answers were lost; looked into before anything else is taken. */
  readonly #unanswered: Asked[] = [];
  #phase: Phase = 'running';
  #isUp = false;
  #busy: Promise<void> | null = null;
  #pumpPlanned = false;
  #jitterMs = 0;
  /** The sweep found messages of which nobody had told us. */
  #isSuspicious = false;
  readonly #wishes = new Wishes();
  #pumpTimer: NodeJS.Timeout | undefined;

  constructor(links: RedisLinks, options: ConsumeOptions, onClosed: () => void) {
    this.links = links;
    this.options = options;
    this.#onClosed = onClosed;
    this.credit = options.credit;
    this.#identity = `${TAG_PREFIX}${options.consumerName}:${randomBytes(5).toString('hex')}`;
    this.queues = new QueueStates(links.keys.prefix, options);
    this.#settler = new RedisSettler(this);
    this.deliveries = new Deliveries(links, options);
    this.#housekeeping = new RedisHousekeeping(this);
    this.leases = new RedisLeases(links, this.held, options, (holds) => this.#settler.giveBack(holds));
    links.addConsumer(this);
  }

  /** Fresh for each connection, so that no tag is ever used twice. */
  get tagPrefix(): string {
    return `${this.#identity}:${this.links.commands.epoch}:`;
  }

  /** How much later it is at the server than here. */
  get clockAheadMs(): number {
    return this.#housekeeping.clockAheadMs;
  }

  get isRunning(): boolean {
    return this.#phase === 'running';
  }

  grant(queue: string, count: number): void {
    this.queues.grant(queue, count);
    this.credit += count;
    this.planPump();
  }

  change(wish: ConsumeWish): Promise<void> {
    const applied = this.#wishes.add(() => void (this.credit += this.queues.change(wish)));
    this.#pump();
    return applied;
  }

  holds(tag: string): boolean {
    return this.held.holds(tag);
  }

  async secure({ tag }: Delivery): Promise<boolean> {
    const held = this.held.get(tag);
    if (held && this.isRunning) await this.leases.secure(held);
    return this.isRunning && this.holds(tag);
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    return this.#settler.settle(settlements);
  }

  async pause(): Promise<void> {
    if (this.#phase === 'running') this.#phase = 'paused';
    this.#housekeeping.stop();
    clearTimeout(this.#pumpTimer);
    while (this.#busy) await this.#busy;
    await this.deliveries.settled();
  }

  async close(options: { readonly timeoutMs: number }): Promise<number> {
    if (this.#phase === 'closed') return 0;
    const deadlineMs = performance.now() + options.timeoutMs;
    let timer: NodeJS.Timeout | undefined;
    const timeUp = new Promise<null>((resolve) => {
      timer = setTimeout(() => resolve(null), options.timeoutMs);
    });
    let returned = 0;
    try {
      await Promise.race([this.pause(), timeUp]);
      if (this.held.size > 0 && performance.now() < deadlineMs) {
        returned = (await Promise.race([this.#handBack(), timeUp])) ?? 0;
      }
    } finally {
      clearTimeout(timer);
      this.#phase = 'closed';
      this.#settler.close();
      this.leases.close();
      clearTimeout(this.#pumpTimer);
      this.links.removeConsumer(this);
      this.held.clear();
      this.#onClosed();
    }
    return returned;
  }

  /** What cannot be handed back comes back by itself when its lease is over. */
  async #handBack(): Promise<number> {
    try {
      return await this.#settler.handBack();
    } catch (error) {
      this.options.logger.warn(
        { held: this.held.size, cause: toError(error).message },
        'redis: messages could not be handed back; their leases will end',
      );
      return 0;
    }
  }

  lastAliveMs(): number {
    return this.links.commands.lastAliveMs;
  }

  warnings(): readonly string[] {
    return this.links.warnings;
  }

  onUp(): void {
    this.#isUp = true;
    this.#housekeeping.announce();
    this.options.onState('connected');
    for (const queue of this.queues.all) queue.isDry = false;
    if (this.asked) this.#unanswered.push(this.asked);
    this.asked = null;
    void this.#resume();
  }

  onDown(cause: Error): void {
    this.#isUp = false;
    if (this.#phase !== 'closed') this.options.onState('disconnected', cause);
  }

  onWake(keys: readonly string[] | null): void {
    if (!this.queues.wake(keys) || this.#busy) return;
    // Woken for nothing a moment ago: others were faster, so leave them a little room this time.
    if (this.#jitterMs > 0) this.#after(Math.random() * this.#jitterMs, () => this.#pump());
    else this.planPump();
  }

  /** A delayed message is due in so many milliseconds, or may be. */
  onDue(delayMs: number): void {
    this.#housekeeping.dueIn(delayMs);
  }

  /** Looks for work once the current turn of the loop is over: grants come in bursts. */
  planPump(): void {
    if (this.#pumpPlanned || this.#phase !== 'running') return;
    this.#pumpPlanned = true;
    process.nextTick(() => {
      this.#pumpPlanned = false;
      this.#pump();
    });
  }

  /**
   * Runs a command that takes messages, alone; what it took is decoded once the next one is on its way, so that server and
   * client work at the same time. Returns false when another is under way or nothing may be taken.
   */
  exclusively(step: () => Promise<readonly Taken[]>): boolean {
    if (this.#busy || this.#phase !== 'running' || !this.#isUp) return false;
    this.#busy = this.#alone(step);
    return true;
  }

  async #alone(step: () => Promise<readonly Taken[]>): Promise<void> {
    let taken: readonly Taken[] = [];
    try {
      taken = await step();
    } catch (error) {
      this.#onRefused(error);
    }
    this.#busy = null;
    this.#pump();
    this.deliveries.hand(taken);
  }

  #after(delayMs: number, step: () => void): void {
    clearTimeout(this.#pumpTimer);
    this.#pumpTimer = setTimeout(step, delayMs);
  }

  #pump(): void {
    if (!this.#busy) this.#wishes.apply();
    if (this.#busy || this.#phase !== 'running' || !this.#isUp) return;
    const unanswered = this.#unanswered.shift();
    if (unanswered) return void this.exclusively(() => this.#recover(unanswered));
    if (this.#housekeeping.runIfDue() || this.credit <= 0) return;
    const from = this.queues.hungry();
    if (from.length > 0) this.exclusively(() => this.#pop(from));
  }

  async #pop(from: readonly QueueState[]): Promise<readonly Taken[]> {
    for (const queue of from) queue.wasWoken = false;
    const { tagPrefix } = this;
    const total = Math.min(this.credit, this.queues.mostAtOnce);
    const credits = from.map((queue) => queue.credit);
    const takenBefore = from.map((queue) => queue.taken);
    const leaseEndsMs = performance.now() + this.options.leaseMs;
    this.asked = { tagPrefix, first: this.lastTag + 1, last: this.lastTag + total, takesOver: false };
    const { taken, hasDrained } = await fetchBatch(this.links, this.options, {
      from,
      credits,
      total,
      tagPrefix,
      lastTag: this.lastTag,
    });
    this.asked = null;
    if (this.#isSuspicious && taken.length > 0)
      this.links.listening.reconnect(new Error('messages waited that it had not told of'));
    this.#isSuspicious = false;
    this.lastTag += taken.length;
    this.take(taken, leaseEndsMs);
    // Measured by the request, because the script knew nothing of what was granted meanwhile.
    if (hasDrained) {
      from.forEach((queue, index) => {
        const took = queue.taken - (takenBefore[index] as number);
        if (took < (credits[index] as number)) queue.isDry = !queue.wasWoken;
      });
    }
    this.#jitterMs = taken.length > 0 ? 0 : Math.min(LARGEST_JITTER_MS, Math.max(1, this.#jitterMs * 2));
    // Without wake-ups (the listening connection is away, or the server refuses tracking) a look a second replaces them.
    if (!this.links.wakes) this.#after(1_000, () => this.onWake(null));
    return taken;
  }

  /** A sweep found something in the lists. Nothing was taken since the sweep before: then the wake-ups may be dead. */
  onFound(isStill: boolean): void {
    this.#isSuspicious = isStill && this.links.wakes && this.credit > 0 && this.queues.hungry().length === 0;
    this.onWake(null);
  }

  /** Counts messages against the credit and holds them. */
  take(taken: readonly Taken[], leaseEndsMs: number): void {
    if (taken.length > 0) this.links.noteWork();
    for (const { tag, list, raw, losses } of taken) {
      const queue = this.queues.of(list) as QueueState;
      queue.credit -= 1;
      queue.taken += 1;
      this.credit -= 1;
      this.held.add({ tag, queue: queue.name, list, raw, takenOver: losses !== null, leaseEndsMs, isSettling: false });
    }
  }

  /** On a new connection: what we hold is ours while its lease lasts, so renew before anything else, and give back the rest. */
  async #resume(): Promise<void> {
    await this.leases.renew();
    this.#housekeeping.start();
    this.planPump();
  }

  async #recover(asked: Asked): Promise<readonly Taken[]> {
    this.asked = asked;
    const leaseEndsMs = performance.now() + this.options.leaseMs;
    const found = await findUnanswered(this.links, asked, this.options);
    this.asked = null;
    this.lastTag = Math.max(this.lastTag, asked.last);
    const taken = found.filter(({ list }) => this.queues.of(list));
    this.take(taken, leaseEndsMs);
    return taken;
  }

  #onRefused(error: unknown): void {
    // A lost connection is followed by onUp, which goes on.
    if (codeOf(error) === 'E_CONNECTION_LOST' || codeOf(error) === 'E_CLOSED') return;
    this.options.logger.error(
      { cause: toError(error).message, code: redisErrorCode(error) },
      'redis: taking messages failed; trying again',
    );
    this.asked = null;
    for (const queue of this.queues.all) queue.isDry = true;
    this.#after(REFUSED_AGAIN_MS, () => this.onWake(null));
  }
}
