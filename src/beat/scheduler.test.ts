/** The loop of schedulers on a clock that tests move: what is sent, once each, whatever happens to leaders, stores and clocks. Long because one rig serves all. */
import { afterEach, expect, test } from 'vitest';
import { resolveConfig } from '../app/config.js';
import { resolveQueues } from '../app/queues.js';
import { canvasFactsOf } from '../app/workflows/canvas-facts.js';
import type { Broker, OutgoingMessage } from '../brokers/broker.js';
import { openBroker } from '../brokers/from-url.js';
import { BrokerError, ConfigError } from '../core/errors.js';
import { silentLogger } from '../core/logger.js';
import { createApp } from '../index.js';
import { openResultStore } from '../results/from-url.js';
import type { ResultStore } from '../results/result-store.js';
import { createFakeClock, type FakeClock } from '../testing/fake-clock.js';
import { encodeResultMeta } from '../wire/result-meta.js';
import type { BeatStore, EntrySnapshot, Firing } from './beat-store.js';
import { encodeDefinition } from './definition.js';
import { decodeState, type EntryState } from './entry-state.js';
import { openBeatStore } from './from-url.js';
import { reconcile } from './reconcile.js';
import { Scheduler } from './scheduler.js';
import { resolveScheduleOptions, type ScheduleOptions, slotTaskId } from './schedules/index.js';

const START = Date.UTC(2026, 5, 1, 12);
let rooms = 0;
const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Lets everything that is ready run; the memory store needs a few turns a step. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 40; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

interface Rig {
  readonly clock: FakeClock;
  readonly store: BeatStore;
  readonly results: ResultStore;
  /** Task ids in the order in which they were decided and handed over. */
  readonly sent: string[];
  /** Called with each decision before it is made: may throw as a broken connection would. */
  trouble: ((when: 'before' | 'after') => void) | null;
  readonly broker: Broker;
  scheduler(name: string, found?: EntrySnapshot): Promise<Scheduler>;
  add(id: string, options: ScheduleOptions): Promise<void>;
  state(id: string): Promise<EntryState>;
  /** Moves the clock in small steps, as time passes. */
  pass(ms: number, stepMs?: number): Promise<void>;
  end(taskId: string, status?: string): Promise<void>;
}

async function openRig(): Promise<Rig> {
  rooms += 1;
  const url = `memory:beat-loop-${rooms}`;
  const clock = createFakeClock(START);
  const config = resolveConfig({ broker: url, logger: silentLogger });
  const app = createApp({ broker: url, logger: silentLogger });
  const tick = app.fn('tick', () => 1);
  const signature = tick.si().toJSON();
  const queues = resolveQueues({ news: { broadcast: true } }, null);
  const broker = await openBroker({ url, queues, logger: silentLogger, role: 'client' });
  const results = await openResultStore({ url, logger: silentLogger, role: 'client' });
  const store = await openBeatStore({ url, app: 'a', logger: silentLogger, brokerUrl: url });
  cleanups.push(
    () => broker.close(),
    () => results.close(),
    () => store.close(),
    () => app.close(),
  );
  const sent: string[] = [];
  const rig: Rig = {
    ...{ clock, broker, store, results, sent, trouble: null },
    async scheduler(name, found) {
      // Messages and decisions in one step, as in a file or in Redis.
      const inOneStep: BeatStore = Object.assign(Object.create(store) as BeatStore, {
        handsOver: true,
        load: () => store.load(),
        get: (id: string) => store.get(id),
        changesSince: (version: number) => store.changesSince(version),
        lead: () => store.lead(),
        takeLead: (owner: string, seen: number) => store.takeLead(owner, seen),
        resign: (lead: Parameters<BeatStore['resign']>[0]) => store.resign(lead),
        beat: (lead: Parameters<BeatStore['beat']>[0]) => store.beat(lead),
        listen: (listener: Parameters<BeatStore['listen']>[0]) => store.listen(listener),
        async fire(epoch: number, firings: readonly Firing[]) {
          rig.trouble?.('before');
          const answers = await store.fire(epoch, firings);
          answers?.forEach((answer, index) => {
            if (answer !== 'done') return;
            for (const { message } of (firings[index] as Firing).messages as OutgoingMessage[])
              sent.push(String(message.headers['id']));
          });
          rig.trouble?.('after');
          return answers;
        },
      });
      const scheduler = new Scheduler({
        ...{ store: inOneStep, broker, results, clock, owner: name, logger: silentLogger, resultTtlMs: 60_000 },
        ...{ facts: () => canvasFactsOf(config, app.registry), random: () => 0.5 },
        ...(found !== undefined && { found }),
      });
      cleanups.push(() => scheduler.close());
      await scheduler.start();
      await settle();
      return scheduler;
    },
    async add(id, options) {
      const definition = { source: 'store', options, signature, sinceMs: clock.nowMs() } as const;
      await store.change([{ kind: 'put', id, definition: encodeDefinition(definition, id), paused: false }]);
      await settle();
    },
    state: async (id) => decodeState((await store.get(id))?.state ?? null),
    async pass(ms, stepMs = 250) {
      for (let left = ms; left > 0; left -= stepMs) {
        clock.advance(Math.min(stepMs, left));
        await settle();
      }
    },
    async end(taskId, status = 'SUCCESS') {
      const resultJson = status === 'SUCCESS' ? '1' : '{"exc_type":"Error","exc_message":["no"],"exc_module":"builtins"}';
      const meta = encodeResultMeta({ status, resultJson, traceback: null, children: [], dateDone: clock.nowMs(), taskId });
      await results.set([{ id: taskId, state: status, meta, epoch: 0, ttlMs: 60_000, replyTo: null, correlationId: null }]);
      await settle();
    },
  };
  return rig;
}

const slots = (id: string, fromMs: number, toMs: number, everyMs: number): string[] => {
  const ids: string[] = [];
  for (let at = fromMs; at <= toMs; at += everyMs) ids.push(slotTaskId(id, START + at));
  return ids;
};

test('each slot is sent once, at its time, under the id that entry and slot decide', async () => {
  const rig = await openRig();
  await rig.add('a', { every: '4s' });
  await rig.scheduler('one');
  await rig.pass(3_900);
  expect(rig.sent).toEqual([]);
  await rig.pass(8_200);
  expect(rig.sent).toEqual(slots('a', 4_000, 12_000, 4_000));
  expect(await rig.state('a')).toMatchObject({ sent: 3, missed: 0, skipped: 0 });
});

test('what goes to a broadcast queue is handed to who listens, and not with the decision to a queue of that name', async () => {
  const rig = await openRig();
  const heard: string[] = [];
  await rig.broker.listen('news', '#', ({ message }) => heard.push(String(message.headers['id'])));
  await rig.add('a', { every: '4s', queue: 'news' });
  await rig.scheduler('one');
  await rig.pass(8_200);
  expect(heard).toEqual(slots('a', 4_000, 8_000, 4_000));
  expect(rig.sent).toEqual([]);
});

test('of several schedulers one leads, and another takes over when it falls silent', async () => {
  const rig = await openRig();
  await rig.add('a', { every: '1s' });
  const one = await rig.scheduler('one');
  const two = await rig.scheduler('two');
  await rig.pass(5_000);
  expect([one.isLeading, two.isLeading]).toEqual([true, false]);
  // silent as after kill -9: its signs of life do not come any more
  const beat = rig.store.beat;
  rig.store.beat = async (lead) => (lead.owner === 'one' ? undefined : beat.call(rig.store, lead));
  await rig.pass(4_500);
  expect(two.isLeading).toBe(true);
  await rig.pass(5_500);
  expect(rig.sent).toEqual(slots('a', 1_000, 15_000, 1_000));
});

test('a leader that was refused stands by and sends nothing twice', async () => {
  const rig = await openRig();
  await rig.add('a', { every: '1s' });
  const one = await rig.scheduler('one');
  await rig.pass(2_000);
  const { epoch } = await rig.store.lead();
  await rig.store.takeLead('two', epoch);
  await rig.pass(1_000);
  expect(one.isLeading).toBe(false);
  expect(rig.sent).toEqual(slots('a', 1_000, 2_000, 1_000));
});

test('a decision whose answer was lost is neither lost nor repeated', async () => {
  const rig = await openRig();
  await rig.add('a', { every: '2s', catchUp: 'all' });
  await rig.scheduler('one');
  let calls = 0;
  rig.trouble = (when) => {
    calls += 1;
    if (calls % 3 === (when === 'before' ? 1 : 2)) throw new BrokerError('E_CONNECTION_LOST', 'gone');
  };
  await rig.pass(20_000);
  rig.trouble = null;
  await rig.pass(2_000);
  expect(rig.sent).toEqual(slots('a', 2_000, 22_000, 2_000));
});

test('decisions that the store has lost, by a fail-over for example, are made again', async () => {
  const rig = await openRig();
  await rig.add('a', { every: '2s', catchUp: 'all' });
  await rig.scheduler('one');
  await rig.pass(4_000);
  const get = rig.store.get;
  const fire = rig.store.fire;
  // As a replica has it that had not seen the last of two decisions.
  let lost = (await rig.store.get('a')) as NonNullable<Awaited<ReturnType<BeatStore['get']>>>;
  lost = { ...lost, seq: 1, state: JSON.stringify({ ...(await rig.state('a')), cursorMs: START + 2_000 }) };
  rig.store.get = async () => lost;
  rig.store.fire = async (epoch, firings) => {
    if (firings[0]?.seq !== lost.seq) return ['stale'];
    rig.store.fire = fire;
    rig.store.get = get;
    return fire.call(
      rig.store,
      epoch,
      firings.map((one) => ({ ...one, seq: 2 })),
    );
  };
  await rig.pass(2_000);
  expect(rig.sent).toEqual([...slots('a', 2_000, 4_000, 2_000), ...slots('a', 4_000, 6_000, 2_000)]);
});

test.each([
  ['none', [16_000, 20_000, 24_000], 2],
  ['last', [16_000, 20_000, 24_000], 2],
  ['all', [8_000, 12_000, 16_000, 20_000, 24_000], 0],
] as const)('after an outage of 14 seconds catch-up %s decides over what was missed', async (catchUp, due, missed) => {
  const rig = await openRig();
  await rig.add('a', { every: '4s', catchUp });
  await rig.scheduler('one');
  await rig.pass(7_000);
  rig.trouble = () => {
    throw new BrokerError('E_CONNECTION_LOST', 'away');
  };
  await rig.pass(14_000);
  rig.trouble = null;
  await rig.pass(4_000);
  expect(rig.sent).toEqual([4_000, ...due].map((at) => slotTaskId('a', START + at)));
  expect((await rig.state('a')).missed).toBe(missed);
});

test.each([
  ['forward', 3_600_000],
  ['back', -3_600_000],
])('a clock that is set %s by an hour makes no slot run twice', async (_, jumpMs) => {
  const rig = await openRig();
  await rig.add('a', { every: '10m', catchUp: 'all' });
  await rig.scheduler('one');
  await rig.pass(610_000, 10_000);
  rig.clock.jumpWall(jumpMs);
  await rig.pass(4_000_000, 10_000);
  const last = 610_000 + jumpMs + 4_000_000;
  expect(rig.sent).toEqual(slots('a', 600_000, last, 600_000));
  expect(new Set(rig.sent).size).toBe(rig.sent.length);
});

test('overlap skip leaves slots out while the run before goes on, and counts them', async () => {
  const rig = await openRig();
  await rig.add('a', { every: '2s', overlap: 'skip' });
  await rig.scheduler('one');
  await rig.pass(6_500);
  expect(rig.sent).toEqual(slots('a', 2_000, 2_000, 2_000));
  await rig.end(slotTaskId('a', START + 2_000));
  await rig.pass(2_000);
  expect(rig.sent).toEqual([2_000, 8_000].map((at) => slotTaskId('a', START + at)));
  expect(await rig.state('a')).toMatchObject({ skipped: 2, sent: 2, runs: [{ state: 'SUCCESS' }, { state: null }] });
});

test('overlap queue runs held slots one after the other, the next as soon as the one before has ended', async () => {
  const rig = await openRig();
  await rig.add('a', { every: '10s', overlap: 'queue', catchUp: 'none' });
  await rig.scheduler('one');
  await rig.pass(35_000, 1_000);
  expect(rig.sent).toEqual(slots('a', 10_000, 10_000, 10_000));
  await rig.end(slotTaskId('a', START + 10_000), 'FAILURE');
  expect(rig.sent).toEqual(slots('a', 10_000, 20_000, 10_000));
  await rig.end(slotTaskId('a', START + 20_000));
  expect(rig.sent).toEqual(slots('a', 10_000, 30_000, 10_000));
  const { runs, missed } = await rig.state('a');
  expect(missed).toBe(0);
  expect(runs[0]).toMatchObject({ state: 'FAILURE', error: 'Error: no' });
});

test('edits, pauses, wishes and removals take effect without a restart', async () => {
  const rig = await openRig();
  await rig.add('a', { every: '1h' });
  await rig.scheduler('one');
  await rig.pass(1_000);
  await rig.add('a', { every: '2s' });
  await rig.pass(2_000);
  expect(rig.sent).toEqual(slots('a', 2_000, 2_000, 2_000));
  const { revision, definition } = (await rig.store.get('a')) ?? { revision: 0, definition: '' };
  await rig.store.change([{ kind: 'put', id: 'a', definition, paused: true, expect: revision }]);
  await rig.pass(6_000);
  expect(rig.sent).toHaveLength(1);
  await rig.store.change([{ kind: 'run', id: 'a', request: 'please' }]);
  await settle();
  expect(rig.sent).toHaveLength(2);
  expect((await rig.store.load()).requests).toEqual([]);
  await rig.store.change([{ kind: 'remove', id: 'a' }]);
  await rig.pass(4_000);
  expect(rig.sent).toHaveLength(2);
});

test('an entry that cannot be read stops no other', async () => {
  const rig = await openRig();
  const strange = { source: 'store', options: { every: '1s' }, signature: { task: 7 }, sinceMs: START };
  await rig.store.change([{ kind: 'put', id: 'broken', definition: '{', paused: false }]);
  await rig.store.change([{ kind: 'put', id: 'strange', definition: JSON.stringify(strange), paused: false }]);
  await rig.add('a', { every: '1s' });
  await rig.scheduler('one');
  await rig.pass(1_000);
  expect(rig.sent).toEqual(slots('a', 1_000, 1_000, 1_000));
  // Nothing of it is decided, so a newer version that can read it finds all of it.
  expect(await rig.state('strange')).toMatchObject({ cursorMs: null, sent: 0 });
});

test('an entry remembers its newest twenty runs and counts all', async () => {
  const rig = await openRig();
  await rig.add('a', { every: '1s' });
  await rig.scheduler('one');
  await rig.pass(25_000, 500);
  const { runs, sent } = await rig.state('a');
  expect(sent).toBe(25);
  expect(runs.map(({ taskId }) => taskId)).toEqual(slots('a', 6_000, 25_000, 1_000));
});

test('a scheduler that was given what somebody has just read finds also what was changed and decided since', async () => {
  const rig = await openRig();
  await rig.add('a', { every: '2s', catchUp: 'all' });
  await rig.add('b', { every: '2s', catchUp: 'all' });
  const found = await rig.store.load();
  const one = await rig.scheduler('one');
  await rig.pass(2_000);
  await rig.add('c', { every: '1s', catchUp: 'all' });
  await rig.store.change([{ kind: 'remove', id: 'b' }]);
  await one.close();
  await rig.scheduler('two', found);
  await rig.pass(2_000);
  expect(rig.sent.sort()).toEqual(
    [...slots('a', 2_000, 4_000, 2_000), ...slots('b', 2_000, 2_000, 2_000), ...slots('c', 3_000, 4_000, 1_000)].sort(),
  );
});

test('entries of the code are reconciled by their ids: changed ones keep their history, others nothing loses', async () => {
  const rig = await openRig();
  const app = createApp({ broker: 'memory:unused', logger: silentLogger });
  cleanups.push(() => app.close());
  const tick = app.fn('tick', () => 1);
  app.schedule('kept', { every: '1s' }, tick.si());
  app.schedule('gone', { every: '1s' }, tick.si());
  const facts = { store: rig.store, results: true, logger: silentLogger } as const;
  expect(await reconcile({ ...facts, entries: app.schedules.all(), nowMs: rig.clock.nowMs() })).toMatchObject({
    added: 2,
    changed: 0,
    removed: 0,
  });
  await rig.add('by hand', { every: '1h' });
  await rig.scheduler('one');
  await rig.pass(2_000);
  const before = await rig.state('kept');
  const again = createApp({ broker: 'memory:unused', logger: silentLogger });
  cleanups.push(() => again.close());
  again.schedule('kept', { every: '1s', priority: 3 }, again.fn('tick', () => 1).si());
  expect(await reconcile({ ...facts, entries: again.schedules.all(), nowMs: rig.clock.nowMs() })).toMatchObject({
    added: 0,
    changed: 1,
    removed: 1,
  });
  expect(await rig.state('kept')).toEqual(before);
  expect(await rig.store.get('gone')).toBeNull();
  expect(await rig.store.get('by hand')).not.toBeNull();
  expect(await reconcile({ ...facts, entries: again.schedules.all(), nowMs: rig.clock.nowMs() + 5 })).toMatchObject({
    added: 0,
    changed: 0,
    removed: 0,
  });
});

test('overlap without a store that everybody reads, or of a task that keeps no result, is refused', async () => {
  const rig = await openRig();
  const app = createApp({ broker: 'memory:unused', logger: silentLogger });
  cleanups.push(() => app.close());
  app.schedule('a', { every: '1s', overlap: 'skip' }, app.fn('tick', () => 1).si());
  const facts = { store: rig.store, entries: app.schedules.all(), nowMs: START, logger: silentLogger };
  await expect(reconcile({ ...facts, results: 'answers go to the sender' })).rejects.toMatchObject({ code: 'E_CONFIG_CONFLICT' });
  expect(() => app.schedule('a', { every: '2s' }, app.fn('tock', () => 1).si())).toThrow(ConfigError);
  expect(() => resolveScheduleOptions({ every: '1ms' })).toThrow(ConfigError);
});

test('an entry that is removed and added again before its leader looks begins anew, and runs', async () => {
  const rig = await openRig();
  await rig.add('again', { every: '10s' });
  await rig.scheduler('one');
  await rig.pass(25_000);
  expect((await rig.state('again')).sent).toBe(2);
  const record = await rig.store.get('again');
  if (record === null) throw new Error('the entry is gone');
  await rig.store.change([
    { kind: 'remove', id: 'again' },
    {
      kind: 'put',
      id: 'again',
      definition: record.definition.replace(/"sinceMs":\d+/, `"sinceMs":${rig.clock.nowMs()}`),
      paused: false,
    },
  ]);
  await rig.pass(20_000);
  expect((await rig.state('again')).sent).toBe(2);
  expect(new Set(rig.sent).size).toBe(4);
});
