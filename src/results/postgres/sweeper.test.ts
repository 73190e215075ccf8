/** When rows that are over are removed: bounded, only by those who write, and until nothing is left. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { silentLogger } from '../../core/logger.js';
import { Sweeper } from './sweeper.js';

let sizes: number[];
/** What each next sweep removes; then nothing. */
let removes: (number | Error)[];
let sweeper: Sweeper;
beforeEach(() => {
  vi.useFakeTimers();
  sizes = [];
  removes = [];
  sweeper = new Sweeper(async (most) => {
    sizes.push(most);
    const next = removes.shift() ?? 0;
    if (next instanceof Error) throw next;
    return next;
  }, silentLogger);
});
afterEach(() => {
  sweeper.stop();
  vi.useRealTimers();
});

const DAY_MS = 86_400_000;

test('nobody who is idle sweeps, and whoever writes does so now and then', async () => {
  await vi.advanceTimersByTimeAsync(DAY_MS);
  expect(sizes).toEqual([]);
  for (let second = 0; second < 120; second += 1) {
    for (let write = 0; write < 10; write += 1) sweeper.written();
    await vi.advanceTimersByTimeAsync(1_000);
  }
  expect(sizes.length).toBeGreaterThanOrEqual(6);
  expect(sizes.length).toBeLessThanOrEqual(12);
});

test('it goes on, in batches of 1,000, as long as they are full', async () => {
  removes = [1_000, 1_000, 1_000, 7];
  await vi.advanceTimersByTimeAsync(60_000);
  sweeper.written();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(sizes).toEqual([1_000, 1_000, 1_000, 1_000]);
});

test('a sweep that failed is left to the next time, and after stop() there is none', async () => {
  removes = [new Error('no connection'), 1_000];
  await vi.advanceTimersByTimeAsync(60_000);
  sweeper.written();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(sizes).toHaveLength(1);
  sweeper.written();
  await vi.advanceTimersByTimeAsync(0);
  sweeper.stop();
  await vi.advanceTimersByTimeAsync(60_000);
  sweeper.written();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(sizes).toHaveLength(2);
});
