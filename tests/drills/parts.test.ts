/** The parts of the drills that decide: seeds, timelines, claims. */
import { expect, test } from 'vitest';
import { type ChaosEvent, plannedTasks, type Timed, timeline, WORKERS } from '../../drills/chaos/timeline.js';
import type { BrokerName } from '../../drills/harness/brokers.js';
import { claim } from '../../drills/harness/claims.js';
import { seeded } from '../../drills/harness/random.js';
import { evenness, fullestWindow } from '../../drills/harness/spread.js';
import { untilOrStuck } from '../../drills/harness/wait.js';

test.each([
  [3, { atMost: 3 }, true],
  [4, { atMost: 3 }, false],
  [3, { atLeast: 3 }, true],
  [2, { atLeast: 3 }, false],
  [0.001, { above: 0.001 }, false],
  ['a', { equals: 'a' }, true],
  ['a', { equals: 'b' }, false],
  [null, { atMost: 3 }, false],
  [null, { equals: 'null' }, false],
  [Number.NaN, { atMost: 3 }, false],
  ['3', { atMost: 3 }, false],
] as const)('measured %j with the bound %j: %s', (measured, bound, holds) => {
  expect(claim('it', measured, bound).holds).toBe(holds);
});

test('a seed repeats its draws, another seed does not, and a fork stands by itself', () => {
  const draws = (seed: string, fork?: string): number[] => {
    const random = fork === undefined ? seeded(seed) : seeded(seed).fork(fork);
    return Array.from({ length: 50 }, () => random.next());
  };
  expect(draws('a')).toEqual(draws('a'));
  expect(draws('a')).not.toEqual(draws('b'));
  expect(draws('a', 'x')).not.toEqual(draws('a', 'y'));
  const used = seeded('a');
  used.next();
  expect(
    Array.from(
      { length: 50 },
      (
        (forked) => () =>
          forked.next()
      )(used.fork('x')),
    ),
  ).toEqual(draws('a', 'x'));
});

test('draws are even, and whole numbers reach both ends', () => {
  const random = seeded('even');
  expect(
    evenness(
      Array.from({ length: 20_000 }, () => random.next()),
      1,
    ),
  ).toBeGreaterThan(0.001);
  const dice = new Set(Array.from({ length: 500 }, () => random.between(1, 6)));
  expect([...dice].sort()).toEqual([1, 2, 3, 4, 5, 6]);
});

test('evenness tells a crowd from a spread, and a shift too', () => {
  const random = seeded('spread');
  const even = Array.from({ length: 1_000 }, () => random.next() * 10_000);
  expect(evenness(even, 10_000)).toBeGreaterThan(0.001);
  expect(
    evenness(
      even.map((value) => value / 2 + 2_500),
      10_000,
    ),
  ).toBeLessThan(1e-6);
  expect(
    evenness(
      even.map((value) => value + 1_000),
      10_000,
    ),
  ).toBeLessThan(1e-6);
  expect(evenness([], 10)).toBe(0);
  // Critical value of the test for n = 1,000 and p = 0.05: a largest distance of 0.0428.
  const shifted = Array.from({ length: 1_000 }, (_, index) => (index + 0.5) / 1_000 + 0.0424);
  expect(evenness(shifted, 1)).toBeCloseTo(0.05, 2);
});

test('the fullest window counts what lies within it', () => {
  expect(fullestWindow([], 10)).toBe(0);
  expect(fullestWindow([0, 9, 10, 11, 25], 10)).toBe(3);
  expect(fullestWindow([5, 5, 5], 1)).toBe(3);
});

const events = (seed: string, broker: BrokerName, count: number): Timed[] => {
  const source = timeline(seeded(seed), broker);
  return Array.from({ length: count }, () => source.next().value);
};

test('a seed plays the same faults again', () => {
  expect(events('a', 'redis', 200)).toEqual(events('a', 'redis', 200));
  expect(events('a', 'redis', 200)).not.toEqual(events('b', 'redis', 200));
});

test('a timeline has every kind of fault, each worker suffers, and an embedded file has no network', () => {
  const kinds = (list: readonly Timed[]): Set<string> =>
    new Set(list.map(({ event }) => (event.kind === 'network' ? `network ${event.fault.how}` : event.kind)));
  const network = ['reset', 'refuse', 'blackHole', 'stall', 'halfOpen', 'slow', 'delay', 'cutAfter'].map(
    (how) => `network ${how}`,
  );
  const process = ['kill', 'stop', 'deploy'];
  expect([...kinds(events('a', 'rabbitmq', 2_000))].sort()).toEqual(
    [...network, ...process, 'broker-kill', 'broker-pause'].sort(),
  );
  expect([...kinds(events('a', 'file', 500))].sort()).toEqual(process.sort());
  const killed = (event: ChaosEvent): number => (event.kind === 'kill' ? event.worker : -1);
  expect(new Set(events('a', 'redis', 500).map(({ event }) => killed(event))).size).toBe(WORKERS + 1);
});

test('the planned tasks contain one that kills its process, and some of every other kind', () => {
  const tasks = plannedTasks(seeded('a'), 2_000);
  const count = (name: string): number => tasks.filter(({ task }) => task === name).length;
  expect(tasks).toHaveLength(2_000);
  expect(count('drill.killer')).toBe(1);
  for (const name of ['drill.append', 'drill.flaky', 'drill.block']) expect(count(name)).toBeGreaterThan(10);
  for (const option of ['expires', 'countdown'] as const)
    expect(tasks.filter(({ options }) => options?.[option] !== undefined).length).toBeGreaterThan(10);
});

test('waiting ends when nothing moves, and also when everything moves for ever', async () => {
  let turns = 0;
  const moving = (): number => turns++;
  expect(
    await untilOrStuck(
      () => false,
      () => 0,
      { idleMs: 100, totalMs: 60_000 },
    ),
  ).toBe(false);
  expect(await untilOrStuck(() => false, moving, { idleMs: 60_000, totalMs: 200 })).toBe(false);
  expect(await untilOrStuck(() => turns > 5, moving, { idleMs: 60_000, totalMs: 60_000 })).toBe(true);
});
