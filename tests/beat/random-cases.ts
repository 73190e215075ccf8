/**
 * Twenty schedulers on one store, whose lives a seed decides: they are killed without a farewell, freeze and go on, their clocks are
 * wrong by up to five seconds, their connections break, and meanwhile people edit. `random-model.ts` judges what was decided and what
 * lies in the queue.
 *
 * Everyday a run has 40 kills; `SCHEDULES_FULL=1` makes it 500. `SCHEDULES_SEED=n` plays one again; the seed stands in the title. Time is
 * a fake clock's; what really passes between two calls of a store is left to chance, so a seed repeats what happens to whom and when,
 * and not the order of two answers.
 */
import { expect, test } from 'vitest';
import { type Random, seeded } from '../../drills/harness/random.js';
import type { BeatStore } from '../../src/beat/beat-store.js';
import { addEntries, editEntry, removeEntry, requestRun, setPaused } from '../../src/beat/entries.js';
import { decodeState } from '../../src/beat/entry-state.js';
import { openBeatStore } from '../../src/beat/from-url.js';
import { openBroker } from '../../src/brokers/from-url.js';
import { silentLogger } from '../../src/core/logger.js';
import { createApp } from '../../src/index.js';
import { openResultStore } from '../../src/results/from-url.js';
import { createFakeClock } from '../../src/testing/fake-clock.js';
import { judge, type Policy, type Revision } from './random-model.js';
import { type Room, Seat } from './random-seats.js';

const FULL = process.env['SCHEDULES_FULL'] === '1';
const seed = process.env['SCHEDULES_SEED'] ?? String(Date.now() % 1_000_000);
const SEATS = 20;
const KILLS = FULL ? 500 : 40;
const SKEW_MS = 5_000;
const START_MS = Date.UTC(2026, 5, 1, 12);
const STEP_MS = 250;
const MOST_ENTRIES = 8;
/** Schedulers that are dead or frozen at once: somebody must be left to lead. */
const MOST_AWAY = SEATS - 3;
const POLICIES: readonly Policy[] = ['none', 'last', 'all'];
const PERIODS = [1_000, 2_000, 3_000, 5_000];
const QUEUE = 'ticks';
/** How often each thing happens beside the others. */
const EVENTS = [
  ...(['kill', 'kill', 'kill', 'edit', 'edit', 'edit', 'skew', 'skew', 'skew'] as const),
  ...(['freeze', 'trouble'] as const),
];

/** People who edit: they know what each entry is, and what each of its revisions was. */
class Editors {
  readonly revisions = new Map<string, Map<number, Revision>>();
  /** Task ids of wishes, by entry. */
  readonly wishes = new Map<string, string[]>();
  readonly #store: BeatStore;
  readonly #room: Room;
  readonly #random: Random;
  readonly #now = new Map<string, Omit<Revision, 'sinceMs' | 'paused'>>();
  #made = 0;

  constructor(store: BeatStore, room: Room, random: Random) {
    this.#store = store;
    this.#room = room;
    this.#random = random;
  }

  get entries(): string[] {
    return [...this.#now.keys()];
  }

  async add(): Promise<void> {
    this.#made += 1;
    const id = `entry ${this.#made}`;
    const timing = { everyMs: this.#random.pick(PERIODS), policy: this.#random.pick(POLICIES) };
    const signature = this.#room.app.remote<[], unknown>('tick').si().with({ ignoreResult: true }).toJSON();
    await addEntries(this.#store, [{ id, options: this.#options(timing), signature }], this.#room.clock.nowMs());
    await this.#note(id, timing);
  }

  /** Some edit, of some entry. */
  async edit(): Promise<void> {
    const { entries } = this;
    const id = this.#random.pick(entries);
    const nowMs = this.#room.clock.nowMs();
    const timing = this.#now.get(id) as Omit<Revision, 'sinceMs' | 'paused'>;
    const what = this.#random.pick(['add', 'remove', 'every', 'policy', 'pause', 'resume', 'run', 'run'] as const);
    switch (what) {
      case 'add':
        return entries.length < MOST_ENTRIES ? this.add() : undefined;
      case 'remove': {
        if (entries.length < 3) return;
        await removeEntry(this.#store, id);
        this.#now.delete(id);
        this.wishes.delete(id);
        return;
      }
      case 'pause':
      case 'resume':
        await setPaused(this.#store, id, what === 'pause', nowMs);
        return this.#note(id, timing);
      case 'run': {
        const wish = await requestRun(this.#store, id);
        this.wishes.set(id, [...(this.wishes.get(id) ?? []), wish]);
        return;
      }
      default: {
        const next =
          what === 'every'
            ? { ...timing, everyMs: this.#random.pick(PERIODS) }
            : { ...timing, policy: this.#random.pick(POLICIES) };
        await editEntry(this.#store, id, nowMs, () => ({ options: this.#options(next) }));
        return this.#note(id, next);
      }
    }
  }

  #options({ everyMs, policy }: { readonly everyMs: number; readonly policy: Policy }) {
    const catchUp = policy === 'all' ? ({ slots: 'all', max: 1_000 } as const) : policy;
    return { every: `${everyMs}ms`, catchUp, queue: QUEUE } as const;
  }

  async #note(id: string, timing: Omit<Revision, 'sinceMs' | 'paused'>): Promise<void> {
    this.#now.set(id, timing);
    const record = await this.#store.get(id);
    if (record === null) throw new Error(`${id} is gone`);
    const { sinceMs } = JSON.parse(record.definition) as { readonly sinceMs: number };
    const known = this.revisions.get(id) ?? new Map<number, Revision>();
    this.revisions.set(id, known.set(record.revision, { ...timing, sinceMs, paused: record.paused }));
  }
}

/** Everything that is ready runs, and every call of a store is answered. */
async function settle(room: Room): Promise<void> {
  for (let quiet = 0; quiet < 6; ) {
    await new Promise((resolve) => setImmediate(resolve));
    quiet = room.busy === 0 ? quiet + 1 : 0;
  }
}

async function pass(room: Room, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= STEP_MS) {
    room.clock.advance(Math.min(STEP_MS, left));
    await settle(room);
  }
}

/** What happens between the first life and the last, by the seed. */
async function play(room: Room, seats: readonly Seat[], editors: Editors, random: Random): Promise<number> {
  let kills = 0;
  let takeOvers = 0;
  let led: Seat | undefined;
  /** Who goes on again, and when. */
  const returns = new Map<Seat, number>();
  const isAway = (seat: Seat): boolean => !seat.isAlive || seat.isFrozen;
  while (kills < KILLS) {
    await pass(room, random.between(0, 3_000));
    for (const [seat, atMs] of returns) {
      if (atMs > room.clock.monotonicMs()) continue;
      returns.delete(seat);
      if (seat.isFrozen) await seat.thaw();
      else await seat.spawn();
    }
    const leader = seats.find((seat) => seat.isLeading && !isAway(seat));
    if (leader !== undefined && leader !== led) takeOvers += 1;
    led = leader ?? led;
    // The leader as often as all others together: nothing happens to a schedule by the death of a standby.
    const seat = leader !== undefined && random.next() < 0.5 ? leader : random.pick(seats);
    const event = random.pick(EVENTS);
    switch (event) {
      case 'edit':
        await editors.edit();
        break;
      case 'skew':
        seat.skewMs = random.between(-SKEW_MS, SKEW_MS);
        break;
      case 'trouble':
        seat.trouble = random.pick(['before', 'after'] as const);
        break;
      default: {
        if (isAway(seat) || seats.filter(isAway).length >= MOST_AWAY) break;
        // In the middle of what it does, as often as not.
        if (random.next() < 0.5) room.clock.advance(random.between(0, STEP_MS));
        if (event === 'kill') kills += 1;
        if (event === 'kill') seat.kill();
        else seat.freeze();
        returns.set(seat, room.clock.monotonicMs() + random.between(0, 15_000));
      }
    }
  }
  return takeOvers;
}

/** Registers the test of one kind of store. @param isOneStep it hands messages over itself; otherwise what it took counts as sent */
export function randomCase(
  name: string,
  /** `store`: where schedules are, if not at the broker. */
  open: () => Promise<{ readonly url: string; readonly store?: string; close(): Promise<void> }>,
  isOneStep = true,
): void {
  const title = `${name}: ${KILLS} kills, and edits, freezes and clocks wrong by ${SKEW_MS / 1_000} s among ${SEATS} schedulers: each slot is sent once, or counted as missed by its policy (seed ${seed})`;
  test(title, { timeout: FULL ? 1_200_000 : 120_000 }, async () => {
    const place = await open();
    const { url } = place;
    const opened: { close(): Promise<void> }[] = [];
    const keep = <T extends { close(): Promise<void> }>(one: T): T => {
      opened.push(one);
      return one;
    };
    try {
      const random = seeded(`${seed}/${name}`);
      const chances = random.fork('chances');
      const clock = createFakeClock(START_MS);
      const app = keep(createApp({ broker: url, logger: silentLogger }));
      const broker = keep(await openBroker({ url, logger: silentLogger, role: 'client' }));
      // Ends of runs are another test's: nothing runs here.
      const results = keep(await openResultStore({ url: `memory:random-${name}`, logger: silentLogger, role: 'client' }));
      const room: Room = { url, app, clock, broker, results, decisions: [], busy: 0, epoch: 0, random: () => chances.next() };
      const connect = async (): Promise<BeatStore> => {
        const store = await openBeatStore({ url: place.store ?? url, app: 'random', logger: silentLogger, brokerUrl: url });
        await store.connect({ timeoutMs: 10_000 });
        return store;
      };
      const store = keep(await connect());
      if (isOneStep) expect(store.handsOver).toBe(true);
      const editors = new Editors(store, room, random.fork('editors'));
      for (let entry = 0; entry < 5; entry += 1) await editors.add();
      const seats: Seat[] = [];
      for (let number = 1; number <= SEATS; number += 1) seats.push(keep(new Seat(room, await connect(), `seat ${number}`)));
      for (const seat of seats) await seat.spawn();

      const takeOvers = await play(room, seats, editors, random.fork('events'));
      for (const seat of seats) {
        seat.skewMs = 0;
        seat.trouble = null;
        if (seat.isAlive) await seat.thaw();
        else await seat.spawn();
      }
      // Longer than any clock was ahead, a take-over and the longest period.
      await pass(room, 20_000);
      // A broken connection must be mended by the leader itself: from here on nobody takes over.
      for (const trouble of ['before', 'after'] as const) {
        for (const seat of seats) if (seat.isLeading) seat.trouble = trouble;
        await pass(room, 10_000);
      }
      expect(seats.filter(({ isLeading }) => isLeading)).toHaveLength(1);
      const endMs = clock.nowMs();
      const left = await store.load();
      for (const seat of seats) await seat.close();

      const queued = isOneStep
        ? (await broker.peek(QUEUE, 100_000)).map((one) => ('message' in one ? String(one.message.headers['id']) : 'garbage'))
        : room.decisions.flatMap(({ sent }) => sent);
      const wishes = [...editors.wishes.values()].flat();
      expect(judge({ decisions: room.decisions, revisions: editors.revisions, queued, wishes })).toEqual([]);
      // And none of them has been forgotten: each that is not paused was decided up to the end.
      expect(left.entries.map(({ id }) => id).sort()).toEqual(editors.entries.sort());
      for (const { id, revision, paused, state } of left.entries) {
        const everyMs = editors.revisions.get(id)?.get(revision)?.everyMs ?? 0;
        if (!paused) expect(decodeState(state).cursorMs, id).toBeGreaterThan(endMs - 2 * everyMs);
      }
      expect(queued.length).toBeGreaterThan(KILLS);
      expect(takeOvers).toBeGreaterThan(KILLS / 10);
    } finally {
      for (const one of opened.reverse()) await one.close();
      await place.close();
    }
  });
}
