/** How the soak judges memory: what it takes for growth, and what not; and that the probe sees what lives in every thread. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { claim } from '../../drills/harness/claims.js';
import { type Growth, growth, probedBy, type Reading, readMemory, warm } from '../../drills/harness/memory.js';
import { seeded } from '../../drills/harness/random.js';
import { until } from '../../drills/harness/wait.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lovage-memory-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const MIB = 1_048_576;
/** Of the soak. */
const TASKS_PER_MS = 0.38;
const BOUND = 1;
const WARM_UP = 0.3;

/** What the probes of a worker with two threads write, as it was measured; one of the threads leaks. */
function written(minutes: number, leakBytesPerTask: number): string {
  const random = seeded(`${minutes}/${leakBytesPerTask}`);
  const file = join(folder, 'memory');
  const lines: string[] = [];
  for (let atMs = 0; atMs < minutes * 60_000; atMs += 10_000) {
    const leaked = leakBytesPerTask * TASKS_PER_MS * atMs;
    const warmUp = 20 * MIB * (1 - Math.exp(-atMs / 60_000));
    const outage = atMs % 150_000 === 0 ? 15 * MIB : 0;
    const resident = (): number => Math.round(110 * MIB + warmUp + outage + leaked + 6 * MIB * random.next());
    lines.push(`7:0 ${atMs} ${Math.round(10 * MIB + MIB * random.next() + leaked)} 8 ${resident()}\n`);
    lines.push(`7:1 ${atMs + 500} ${8 * MIB} 1 ${resident()}\n`);
  }
  writeFileSync(file, lines.join(''));
  return file;
}

function grown(minutes: number, leakBytesPerTask: number): { readonly living: Growth; readonly resident: Growth } {
  const { living, resident } = readMemory(written(minutes, leakBytesPerTask));
  return { living: growth(warm(living, WARM_UP)), resident: growth(warm(resident, WARM_UP)) };
}

test.each([10, 30])('in %d minutes, a worker that only breathes does not grow', (minutes) => {
  const { living, resident } = grown(minutes, 0);
  expect(living.certain).toBeLessThan(BOUND);
  expect(resident.certain).toBeLessThan(BOUND);
});

test.each([10, 30])('in %d minutes, a leak of 100 bytes a task is seen in resident memory, scatter or not', (minutes) => {
  const { likely, certain } = grown(minutes, 100).resident;
  expect(certain).toBeGreaterThan(15 * BOUND);
  expect(likely).toBeLessThan(28 * BOUND);
});

test.each([
  [10, 20],
  [30, 8],
])('in %d minutes, a leak of %d bytes a task in one thread is seen in what lives', (minutes, bytes) => {
  expect(grown(minutes, bytes).living.certain).toBeGreaterThan(BOUND);
});

test('what is certain is never more than what is likely, and the same where nothing scatters', () => {
  const series = (scatter: number): Reading[] => {
    const random = seeded('scatter');
    return Array.from({ length: 21 }, (_, minute) => ({ atMs: minute * 60_000, value: minute + scatter * random.next() }));
  };
  expect(growth(series(0)).certain).toBeCloseTo(10);
  expect(growth(series(0)).likely).toBeCloseTo(10);
  const { likely, certain } = growth(series(20));
  expect(certain).toBeLessThan(likely);
  expect(certain).toBeGreaterThan(0);
});

test('what each outage leaves behind is growth, although it comes in steps', () => {
  const steps = Array.from({ length: 30 }, (_, minute) => ({
    atMs: minute * 60_000,
    value: 20 + Math.floor(minute / 2.5) * 0.5,
  }));
  expect(growth(steps).certain).toBeGreaterThan(BOUND);
});

test('a dip after the warm-up and a spike at the end are no growth', () => {
  const series = Array.from({ length: 21 }, (_, minute) => ({ atMs: minute * 60_000, value: 160 }));
  series[0] = { atMs: 0, value: 120 };
  series[20] = { atMs: 1_200_000, value: 240 };
  expect(growth(series)).toEqual({ likely: 0, certain: 0 });
});

test('too few readings say nothing, and no bound holds for them', () => {
  for (const count of [0, 1, 4]) {
    const { likely, certain } = growth(Array.from({ length: count }, (_, minute) => ({ atMs: minute * 60_000, value: 0 })));
    expect(claim('it grows', likely, { atMost: BOUND }).holds).toBe(false);
    expect(claim('it grows', certain, { atMost: BOUND }).holds).toBe(false);
  }
});

test('what lives is the sum over the threads, without the minutes in which one of them has not said anything yet', () => {
  const { living, resources, resident } = readMemory(written(5, 0));
  expect(living.map(({ atMs }) => atMs)).toEqual([60_000, 120_000, 180_000]);
  for (const { value } of living) expect(value).toBeGreaterThanOrEqual(18);
  for (const { value } of living) expect(value).toBeLessThan(19);
  expect(resources.map(({ value }) => value)).toEqual([9, 9, 9]);
  expect(resident.map(({ atMs }) => atMs)).toEqual([60_000, 120_000, 180_000]);
});

test('the probe tells what lives in the main thread and in others, and no garbage', async () => {
  const file = join(folder, 'memory');
  // Makes garbage without a pause: 32 MB at a time.
  const waste = 'setInterval(() => { globalThis.wasted = new Array(4e6).fill(0).length; }, 20);';
  const thread = join(folder, 'thread.cjs');
  const main = join(folder, 'main.cjs');
  writeFileSync(thread, `globalThis.kept = Buffer.alloc(12 * 1048576); ${waste}`);
  writeFileSync(
    main,
    `globalThis.kept = new Array(2e6).fill(0); new (require('node:worker_threads').Worker)(${JSON.stringify(thread)}); ${waste}`,
  );
  const child = spawn(process.execPath, [...probedBy(file, 100), main], { stdio: 'inherit' });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  try {
    const threads = (): string[][] => {
      if (!existsSync(file)) return [[], []];
      const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
      return [0, 1].map((thread) => lines.filter((line) => line.startsWith(`${child.pid}:${thread} `)));
    };
    // The first lines may come before the script has run.
    await until(() => threads().every((lines) => lines.length >= 6), 'both threads have told of their memory');
    const [inMain, inOther] = threads().map((lines) => Number(lines.at(-1)?.split(' ')[2]) / MIB) as [number, number];
    expect(inMain).toBeGreaterThan(15);
    expect(inMain).toBeLessThan(15 + 12);
    expect(inOther).toBeGreaterThan(12);
    expect(inOther).toBeLessThan(12 + 12);
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
});
