/** When a worker looks for overdue chords: twice a minute, when one is due, often while such are opened, and soon after a revoke. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { systemClock } from '../../../core/clock.js';
import { silentLogger } from '../../../core/logger.js';
import type { OverdueChord } from '../../../results/chords.js';
import { decodeControlRequest } from '../../../wire/control-message.js';
import { encodeJson } from '../../../wire/serializers/json.js';
import { makeSignature } from '../../../wire/signature.js';
import { OverdueChords, type OverdueOptions } from './overdue.js';

beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }));
afterEach(() => void vi.useRealTimers());

/** Its store knows of no chord until it is told to; looks are in seconds since the start. */
function watched() {
  const startMs = Date.now();
  const looks: number[] = [];
  const told: unknown[] = [];
  const known: { chords: OverdueChord[]; nextMs: number | null } = { chords: [], nextMs: null };
  const during: (() => void)[] = [];
  const overdue = async () => {
    looks.push(Math.floor((Date.now() - startMs) / 1_000));
    for (const happens of during.splice(0)) happens();
    return { ...known };
  };
  const ended: string[] = [];
  const options: OverdueOptions = {
    ...{ store: { chords: { overdue } } as never, clock: systemClock, logger: silentLogger },
    broadcast: async ({ message }) => void told.push(decodeControlRequest(message).arguments),
    endOne: async (groupId) => {
      ended.push(groupId);
      return ended.length > 1;
    },
  };
  const chords = new OverdueChords(options);
  chords.watch();
  const pass = async (seconds: number): Promise<number[]> => {
    await vi.advanceTimersByTimeAsync(seconds * 1_000);
    return looks.splice(0);
  };
  return { chords, pass, known, during, told, ended };
}

test('a worker that knows of no chord looks twice a minute', async () => {
  const { chords, pass } = watched();
  expect(await pass(2)).toEqual([1]);
  expect((await pass(600)).length).toBeLessThanOrEqual(20);
  chords.close();
  expect(await pass(600)).toEqual([]);
});

test('a revoke brings the next look forward, also one that comes during a look', async () => {
  const { chords, pass, during } = watched();
  await pass(2);
  chords.soon();
  during.push(() => chords.soon());
  expect(await pass(4)).toHaveLength(2);
  expect(await pass(25)).toEqual([]);
});

test('looks that are asked for again and again are not put off', async () => {
  const { chords, pass } = watched();
  await pass(2);
  for (let times = 0; times < 300; times++) {
    chords.soon();
    await vi.advanceTimersByTimeAsync(10);
  }
  expect((await pass(0)).length).toBeGreaterThanOrEqual(2);
});

test('it looks when the next chord is due of which the store has told it', async () => {
  const { pass, known } = watched();
  known.nextMs = Date.now() + 12_000;
  expect(await pass(11)).toEqual([1]);
  known.nextMs = null;
  expect(await pass(4)).toHaveLength(1);
});

test('told of a near deadline it looks then, often until then, and seldom again afterwards', async () => {
  const { chords, pass } = watched();
  await pass(2);
  const dueMs = Date.now() + 20_000;
  chords.dueBy(dueMs);
  const looks = await pass(60);
  // from two to 22 s every five seconds or so, the last one after it is due; then each half minute
  const often = looks.filter((at) => at <= 28);
  expect(often.length).toBeGreaterThanOrEqual(4);
  expect(often.length).toBeLessThanOrEqual(6);
  expect(often.some((at) => at >= 22 && at <= 28)).toBe(true);
  expect(looks.length - often.length).toBeLessThanOrEqual(2);
});

test('a deadline that is far off, or none at all, changes nothing', async () => {
  const { chords, pass, told } = watched();
  await pass(2);
  chords.dueBy(Number.MAX_SAFE_INTEGER);
  chords.opened([{ deadlineMs: Date.now() + 86_400_000 }]);
  expect(await pass(27)).toEqual([]);
  expect(told).toEqual([]);
});

test('whoever opens chords that are due soon tells all workers, once until then', async () => {
  const { chords, pass, told } = watched();
  await pass(2);
  const dueMs = Date.now() + 10_000;
  chords.opened([{ deadlineMs: dueMs + 1_000 }, { deadlineMs: dueMs }]);
  for (let times = 0; times < 5; times++) {
    await pass(1);
    chords.opened([{ deadlineMs: Date.now() + 10_000 }]);
  }
  expect(told).toEqual([{ at: dueMs }]);
});

test('a chord that another worker has begun to end is looked at again, should that one have died', async () => {
  const { pass, known, ended } = watched();
  known.chords.push({ groupId: 'g', body: encodeJson(makeSignature('body')) });
  expect(await pass(4)).toHaveLength(1);
  expect(ended).toEqual(['g']);
  expect(await pass(5)).toHaveLength(1);
  expect(ended).toEqual(['g', 'g']);
});
