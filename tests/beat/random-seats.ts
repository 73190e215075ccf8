/**
 * Schedulers in one process that can die, freeze and have wrong clocks. A seat has one connection to the real store and one life after
 * the other: what a dead one would still hear or be answered never reaches it, though what it had asked of the store is done.
 */
import { resolveConfig } from '../../src/app/config.js';
import { canvasFactsOf } from '../../src/app/workflows/canvas-facts.js';
import type { BeatListener, BeatStore, Firing } from '../../src/beat/beat-store.js';
import { decodeState } from '../../src/beat/entry-state.js';
import { requestedTaskId } from '../../src/beat/messages.js';
import { Scheduler } from '../../src/beat/scheduler.js';
import type { Broker } from '../../src/brokers/broker.js';
import type { Clock } from '../../src/core/clock.js';
import { BrokerError } from '../../src/core/errors.js';
import { silentLogger } from '../../src/core/logger.js';
import type { App } from '../../src/index.js';
import type { ResultStore } from '../../src/results/result-store.js';
import type { FakeClock } from '../../src/testing/fake-clock.js';
import type { Decision } from './random-model.js';

/** What all seats have in common. */
export interface Room {
  readonly url: string;
  readonly app: App;
  readonly clock: FakeClock;
  readonly broker: Broker;
  readonly results: ResultStore;
  readonly decisions: Decision[];
  /** Calls of the store that have not been answered. */
  busy: number;
  /** The newest lead that anybody was told to have. */
  epoch: number;
  random(): number;
}

export type Trouble = 'before' | 'after';

export class Seat {
  readonly name: string;
  /** How much more than the right time its clock shows. */
  skewMs = 0;
  /** What becomes of its next decision: its connection breaks before the store gets it, or after. */
  trouble: Trouble | null = null;
  readonly #room: Room;
  readonly #store: BeatStore;
  #life = 0;
  #scheduler: Scheduler | null = null;
  #listener: BeatListener | null = null;
  /** What waits for the thaw; `null`: it is not frozen. */
  #frozen: { readonly isTimer: boolean; readonly call: () => void }[] | null = null;
  #deaf: (() => Promise<void>) | null = null;

  constructor(room: Room, store: BeatStore, name: string) {
    this.#room = room;
    this.#store = store;
    this.name = name;
  }

  get isAlive(): boolean {
    return this.#scheduler !== null;
  }

  get isFrozen(): boolean {
    return this.#frozen !== null;
  }

  get isLeading(): boolean {
    return this.#scheduler?.isLeading === true;
  }

  /** Another life, with another name. */
  async spawn(): Promise<void> {
    this.#life += 1;
    const { app, broker, results, url } = this.#room;
    const config = resolveConfig({ broker: url, logger: silentLogger });
    this.#scheduler = new Scheduler({
      ...{ store: this.#storeOf(this.#life), broker, results, clock: this.#clockOf(this.#life), logger: silentLogger },
      ...{ owner: `${this.name}.${this.#life}`, resultTtlMs: 60_000, random: () => this.#room.random() },
      facts: () => canvasFactsOf(config, app.registry),
    });
    this.#deaf ??= await this.#store.listen({
      onLead: (lead) => this.#reach(this.#life, () => this.#listener?.onLead(lead)),
      onChange: () => this.#reach(this.#life, () => this.#listener?.onChange()),
      onUp: () => {},
      onDown: () => {},
    });
    await this.#scheduler.start();
  }

  /** Without a farewell. */
  kill(): void {
    this.#life += 1;
    this.#scheduler = null;
    this.#listener = null;
    this.#frozen = null;
    this.trouble = null;
  }

  freeze(): void {
    this.#frozen ??= [];
  }

  /** As after SIGCONT: timers that fell due meanwhile run before anything is read that arrived meanwhile. */
  async thaw(): Promise<void> {
    const waiting = this.#frozen ?? [];
    this.#frozen = null;
    for (const { isTimer, call } of waiting) if (isTimer) call();
    await new Promise((resolve) => setImmediate(resolve));
    for (const { isTimer, call } of waiting) if (!isTimer) call();
  }

  /** As an operator stops it. */
  async close(): Promise<void> {
    await this.thaw();
    await this.#scheduler?.close();
    this.kill();
    await this.#deaf?.();
    await this.#store.close();
  }

  /** Whatever is to reach a scheduler goes through here. */
  #reach(life: number, call: () => void, isTimer = false): void {
    if (life !== this.#life) return;
    if (this.#frozen === null) call();
    else this.#frozen.push({ isTimer, call: () => this.#reach(life, call) });
  }

  #clockOf(life: number): Clock {
    const { clock } = this.#room;
    return {
      nowMs: () => clock.nowMs() + this.skewMs,
      monotonicMs: () => clock.monotonicMs(),
      after: (delayMs, callback) => {
        let isCancelled = false;
        const cancel = clock.after(delayMs, () => this.#reach(life, () => isCancelled || callback(), true));
        return () => {
          isCancelled = true;
          cancel();
        };
      },
    };
  }

  #storeOf(life: number): BeatStore {
    const store = this.#store;
    const asked = <T>(step: () => Promise<T>): Promise<T> =>
      new Promise<T>((resolve, reject) => {
        this.#room.busy += 1;
        step()
          .then(
            (value) => this.#reach(life, () => resolve(value)),
            (error: unknown) => this.#reach(life, () => reject(error)),
          )
          .finally(() => {
            this.#room.busy -= 1;
          });
      });
    return {
      ...{ name: store.name, handsOver: true },
      connect: (options) => asked(() => store.connect(options)),
      load: () => asked(() => store.load()),
      get: (id) => asked(() => store.get(id)),
      changesSince: (version) => asked(() => store.changesSince(version)),
      change: (changes) => asked(() => store.change(changes)),
      fire: (epoch, firings) => asked(() => this.#fire(epoch, firings)),
      lead: () => asked(() => store.lead()),
      takeLead: (owner, seen) =>
        asked(async () => {
          const lead = await store.takeLead(owner, seen);
          this.#room.epoch = Math.max(this.#room.epoch, lead.epoch);
          return lead;
        }),
      resign: (lead) => asked(() => store.resign(lead)),
      beat: (lead) => asked(() => store.beat(lead)),
      listen: async (listener) => {
        this.#listener = listener;
        listener.onUp();
        return async () => {
          this.#listener = null;
        };
      },
      close: async () => {},
    };
  }

  /** Notes what the store took, also when nobody is left to hear it. */
  async #fire(epoch: number, firings: readonly Firing[]): Promise<Awaited<ReturnType<BeatStore['fire']>>> {
    const { trouble } = this;
    this.trouble = null;
    const broken = (): BrokerError => new BrokerError('E_CONNECTION_LOST', 'broken on purpose');
    if (trouble === 'before') throw broken();
    const newest = this.#room.epoch;
    const answers = await this.#store.fire(epoch, firings);
    answers?.forEach((answer, index) => {
      const { id, revision, seq, state, messages, request } = firings[index] as Firing;
      if (answer !== 'done') return;
      const { cursorMs, missed } = decodeState(state);
      this.#room.decisions.push({
        ...{ entry: id, revision, seq, cursorMs, missed, epoch, newest },
        sent: messages.map(({ message }) => String(message.headers['id'])),
        wish: request === null ? null : requestedTaskId(id, request),
      });
    });
    if (trouble === 'after') throw broken();
    return answers;
  }
}
