/** Who is counted as a listener by the signs that listeners give, and how large the file of signs gets. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { silentLogger } from '../../core/logger.js';
import { LifeSigns } from './life-signs.js';

const MINUTE_MS = 60_000;
let folder: string;
let signs: LifeSigns;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'] });
  folder = mkdtempSync(join(tmpdir(), 'lovage-signs-'));
  signs = new LifeSigns(join(folder, 'queue.db'), MINUTE_MS, silentLogger);
});
afterEach(() => {
  signs.close();
  vi.useRealTimers();
  rmSync(folder, { recursive: true });
});

test('those who gave a sign lately are counted, and those who fell silent are not', () => {
  signs.give([1, 2]);
  expect(signs.countLiving([1, 2])).toBe(2);
  vi.advanceTimersByTime(MINUTE_MS - 1);
  signs.give([2]);
  vi.advanceTimersByTime(2);
  expect(signs.countLiving([1, 2])).toBe(1);
  signs.give([1]);
  expect(signs.countLiving([1, 2])).toBe(2);
});

test('signs are seen by other processes', () => {
  const other = new LifeSigns(join(folder, 'queue.db'), MINUTE_MS, silentLogger);
  signs.give([7]);
  vi.advanceTimersByTime(MINUTE_MS + 1);
  expect(other.countLiving([7])).toBe(0);
  other.give([7]);
  expect(signs.countLiving([7])).toBe(1);
  other.close();
});

test('who has given no sign, or whose place another one has taken, is counted: its row tells', () => {
  expect(signs.countLiving([1])).toBe(1);
  signs.give([5]);
  signs.give([5 + 4_096]);
  vi.advanceTimersByTime(MINUTE_MS + 1);
  expect(signs.countLiving([1, 4_000, 5, 5 + 4_096])).toBe(3);
});

test('the file has 64 KiB, however many listeners there ever were', () => {
  for (let id = 1; id <= 20_000; id += 1) signs.give([id]);
  expect(statSync(join(folder, 'queue.db-bell/listeners')).size).toBe(65_536);
});

test('a place where no file can be made costs nobody anything but a line in the log', () => {
  const nowhere = new LifeSigns(join(folder, 'missing/file/queue.db\0'), MINUTE_MS, silentLogger);
  expect(() => nowhere.give([1])).not.toThrow();
  expect(nowhere.countLiving([1])).toBe(1);
});
