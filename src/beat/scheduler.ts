/**
 * The loop of a scheduler: while it leads it keeps all entries in a heap by the time of their next slot, decides what is due (`entry.ts`),
 * and has the store note the decision and hand out its messages in one step. Owns the entries in memory and their order; who leads is
 * `leadership.ts`. Everything that it knows can be read again, so whatever goes wrong it looks anew and the store says what holds.
 *
 * A decision that failed was not taken: the cursor stays, and once the store answers again the entry's catch-up says what still runs.
 */
import { randomUUID } from 'node:crypto';
import type { Broker, OutgoingMessage } from '../brokers/broker.js';
import type { CanvasFacts } from '../canvas/routes.js';
import { type BackoffPolicy, backoffMs } from '../core/backoff.js';
import type { Clock } from '../core/clock.js';
import { codeOf, toError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { chordsOf } from '../results/chords.js';
import type { ResultStore } from '../results/result-store.js';
import type { BeatStore, EntrySnapshot, Firing, RunRequest } from './beat-store.js';
import { encodeState } from './entry-state.js';
import { BEAT_MS, LEASE_MS, Leadership } from './leadership.js';
import { LiveEntries, type Work } from './live-entries.js';

/** Entries decided in one step. */
const BATCH = 200;
/** Entries read in one go: signs of life must not wait for a hundred thousand of them. */
const STEP = 1_000;
const PUBLISH_MS = 5_000;
const RETRY: BackoffPolicy = { backoff: 'exponential', baseMs: 100, capMs: 1_000, jitter: 'full' };
/** However quiet it is: changes whose news were lost are found, and a clock that was set is noticed. */
const RECHECK_MS = 30_000;
const CLOCK_LOOK_MS = 1_000;

export interface SchedulerOptions {
  readonly store: BeatStore;
  readonly broker: Broker;
  readonly results: ResultStore;
  readonly facts: () => CanvasFacts;
  readonly resultTtlMs: number | null;
  /** What somebody has just read: a scheduler that leads at once need not read all again, only what has changed since. */
  readonly found?: EntrySnapshot;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly owner?: string;
  readonly leaseMs?: number;
  readonly beatMs?: number;
  readonly random?: () => number;
  readonly onLead?: (epoch: number | null) => void;
  readonly onStandby?: (owner: string) => void;
}

const turnOfTheLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class Scheduler {
  readonly #options: Required<Pick<SchedulerOptions, 'owner' | 'random'>> & SchedulerOptions;
  readonly #leadership: Leadership;
  readonly #entries: LiveEntries;
  #requests: readonly RunRequest[] = [];
  #version: number | null = null;
  /** Until it is used, or another one leads. */
  #found: EntrySnapshot | null;
  #news = false;
  #newsMs = 0;
  /** Decisions whose answer is not known, or was `stale`: read again before anything else. */
  readonly #uncertain = new Set<string>();
  #turning: Promise<void> | null = null;
  #again = false;
  #failures = 0;
  #cancel: (() => void) | null = null;
  #stopListening: (() => Promise<void>) | null = null;
  #isClosed = false;

  constructor(options: SchedulerOptions) {
    this.#options = { owner: randomUUID(), random: Math.random, ...options };
    this.#found = options.found ?? null;
    const { store, clock, logger, results, leaseMs = LEASE_MS, beatMs = BEAT_MS } = options;
    this.#leadership = new Leadership({
      ...{ store, clock, logger, leaseMs, beatMs, owner: this.#options.owner, random: this.#options.random },
      onChange: (epoch) => this.#leads(epoch),
      onStandby: (owner) => {
        this.#found = null;
        options.onStandby?.(owner);
      },
    });
    const { facts, resultTtlMs } = options;
    this.#entries = new LiveEntries({
      ...{ results, logger, facts, resultTtlMs, isRepeated: store.handsOver !== true, hearsEnds: store.codeOnly === undefined },
      nowMs: () => clock.nowMs(),
      onEnd: () => this.#stir(),
    });
  }

  /** Whether it leads, as far as it knows. */
  get isLeading(): boolean {
    return this.#leadership.epoch !== null;
  }

  /** Begins; resolves once it listens. */
  async start(): Promise<void> {
    this.#stopListening = await this.#options.store.listen({
      onUp: () => {
        this.#leadership.up();
        this.#hearNews();
      },
      onDown: () => this.#leadership.down(),
      onLead: (lead) => this.#leadership.hear(lead),
      onChange: () => this.#hearNews(),
    });
  }

  /** Decides nothing more, and gives the lead back. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancel?.();
    await this.#turning;
    this.#entries.clear();
    try {
      await this.#leadership.close();
    } catch (error) {
      this.#options.logger.debug(
        { cause: toError(error).message },
        'beat: the lead was not given back; others take it in seconds',
      );
    }
    await this.#stopListening?.();
  }

  #leads(epoch: number | null): void {
    this.#version = null;
    this.#entries.clear();
    this.#uncertain.clear();
    this.#cancel?.();
    this.#options.onLead?.(epoch);
    if (epoch !== null) this.#stir();
  }

  #hearNews(): void {
    this.#news = true;
    if (this.isLeading) this.#stir();
  }

  /** Takes a turn now, or once more after the one that is under way. */
  #stir(): void {
    if (this.#isClosed || !this.isLeading) return;
    this.#again = true;
    if (this.#turning !== null) return;
    this.#cancel?.();
    this.#turning = this.#turns().finally(() => {
      this.#turning = null;
      if (this.#again) this.#stir();
    });
  }

  async #turns(): Promise<void> {
    let waitMs: number | null = null;
    try {
      while (this.#again && !this.#isClosed && this.isLeading) {
        this.#again = false;
        await this.#turn();
      }
      if (this.#failures > 0) this.#options.logger.info({ tries: this.#failures }, 'beat: the store answers again');
      this.#failures = 0;
    } catch (error) {
      if (codeOf(error) === 'E_CLOSED') return;
      this.#failures += 1;
      this.#news = true; // requests among them
      waitMs = backoffMs(RETRY, Math.min(this.#failures, 10), this.#options.random());
      const fields = { err: toError(error), code: codeOf(error) };
      if (this.#failures === 1) this.#options.logger.warn(fields, 'beat: nothing can be decided now; trying again');
    }
    if (!this.#again || waitMs !== null) this.#sleep(waitMs);
    if (waitMs !== null) this.#again = false;
  }

  #sleep(waitMs: number | null): void {
    const { clock } = this.#options;
    if (this.#isClosed || !this.isLeading) return;
    const first = this.#entries.firstMs;
    const untilMs = waitMs ?? Math.min(Math.max(0, (first ?? Infinity) - clock.nowMs()), CLOCK_LOOK_MS);
    this.#cancel = clock.after(untilMs, () => {
      const now = this.#entries.firstMs;
      const due = now !== null && now <= clock.nowMs();
      const recheck = clock.monotonicMs() - this.#newsMs >= RECHECK_MS;
      if (waitMs !== null || due || recheck) this.#stir();
      else this.#sleep(null);
    });
  }

  async #turn(): Promise<void> {
    const { clock, store } = this.#options;
    if (clock.monotonicMs() - this.#newsMs >= RECHECK_MS) this.#news = true;
    if (this.#version === null) await this.#loadAll();
    else if (this.#news) {
      this.#news = false;
      const news = await store.changesSince(this.#version);
      if (news === null) await this.#loadAll();
      else {
        this.#newsMs = clock.monotonicMs();
        this.#version = news.version;
        this.#requests = news.requests;
        for (const id of news.removed) this.#entries.forget(id);
        for (const record of news.entries) this.#entries.take(record);
      }
    }
    for (const id of this.#uncertain) {
      const record = await store.get(id);
      this.#uncertain.delete(id);
      if (record === null) this.#entries.forget(id);
      else this.#entries.take(record);
    }
    await this.#answerRequests();
    for (let more = true; more && this.isLeading && !this.#isClosed; ) {
      const nowMs = clock.nowMs();
      const due = this.#entries.due(nowMs, BATCH);
      const { work } = due;
      more = due.more;
      if (work.length > 0) await this.#carryOut(work, nowMs);
      else if (more) await turnOfTheLoop();
    }
  }

  async #loadAll(): Promise<void> {
    const { store, clock } = this.#options;
    const found = this.#found;
    this.#found = null;
    // What was decided since then is not among its news: the store refuses such a decision, and the entry is read again.
    this.#news = found !== null;
    this.#again ||= found !== null;
    const { version, entries, requests } = found ?? (await store.load());
    this.#entries.clear();
    for (const [index, record] of entries.entries()) {
      this.#entries.take(record);
      if (index % STEP === STEP - 1) await turnOfTheLoop();
    }
    this.#requests = requests;
    this.#version = version;
    this.#newsMs = clock.monotonicMs();
  }

  async #answerRequests(): Promise<void> {
    const requests = this.#requests;
    if (requests.length === 0) return;
    const nowMs = this.#options.clock.nowMs();
    this.#requests = [];
    for (const request of requests) {
      const work = this.#entries.wanted(request, nowMs);
      // one by one: two of one entry would need each other's number
      if (work !== null) await this.#carryOut([work], nowMs);
    }
  }

  async #carryOut(work: readonly Work[], nowMs: number): Promise<void> {
    const { store, results, broker } = this.#options;
    const epoch = this.#leadership.epoch;
    if (epoch === null) return;
    for (const { id } of work) this.#uncertain.add(id);
    const chords = work.flatMap(({ plans }) => plans.flatMap((plan) => plan.chords));
    if (chords.length > 0) await chordsOf(results).open(chords);
    const isHandedOver = store.handsOver === true || store.publishes === true;
    // What goes to more than one queue is the broker's to send, and goes out before the decision.
    const goesAlong = ({ to }: OutgoingMessage): boolean => isHandedOver && broker.spreads?.(to) !== true;
    const messages = work.flatMap(({ plans }) => plans.flatMap((plan) => plan.messages));
    const first = messages.filter((message) => !goesAlong(message));
    if (!(await this.#publish(epoch, first))) return this.#refused(epoch);
    const firings = work.map(
      ({ id, live, state, plans, request }): Firing => ({
        ...{ id, revision: live.revision, seq: live.seq, state: encodeState(state), request },
        messages: plans.flatMap((plan) => plan.messages.filter(goesAlong)),
      }),
    );
    const answers = await store.fire(epoch, firings);
    if (answers === null) return this.#refused(epoch);
    answers.forEach((answer, index) => {
      const one = work[index] as Work;
      // Edited meanwhile, or carried out by a try whose answer was lost: the store says what holds.
      if (answer === 'stale') this.#again = true;
      else {
        this.#uncertain.delete(one.id);
        this.#entries.done(one, nowMs);
      }
    });
  }

  /** Unless the lead was taken anew since. */
  #refused(epoch: number): void {
    if (this.#leadership.epoch === epoch) this.#leadership.refused();
  }

  /** Where message and decision are two steps: the message first. `false`: another one leads. */
  async #publish(epoch: number, messages: readonly OutgoingMessage[]): Promise<boolean> {
    const { store, broker } = this.#options;
    if (messages.length === 0) return true;
    if ((await store.lead()).epoch !== epoch) return false;
    for (const failure of await broker.publish(messages, { timeoutMs: PUBLISH_MS })) if (failure !== null) throw failure;
    return true;
  }
}
