import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLogger } from '../../core/logger.js';
import { Doorbell } from './doorbell.js';

let folder: string;
let sleeper: Doorbell;
let ringer: Doorbell;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lovage-bell-'));
  sleeper = new Doorbell(join(folder, 'queue.db'), silentLogger);
  ringer = new Doorbell(join(folder, 'queue.db'), silentLogger);
});

afterEach(() => {
  sleeper.close();
  ringer.close();
  rmSync(folder, { recursive: true });
});

/** Resolves at the next ring. */
function nextRing(bell: Doorbell, kind: 'messages' | 'results'): Promise<void> {
  return new Promise((resolve) => {
    const stop = bell.listen(kind, () => {
      stop();
      resolve();
    });
  });
}

const rungAtMs = (kind: string): number => statSync(join(folder, 'queue.db-bell', kind)).mtimeMs;

test('wakes who is asleep, each time that it has armed the bell', async () => {
  for (let round = 0; round < 20; round += 1) {
    const woken = nextRing(sleeper, 'messages');
    sleeper.arm('messages');
    ringer.ring('messages');
    await woken;
  }
});

test('is not rung when nobody sleeps, nor twice for one sleep', () => {
  ringer.prepare();
  const madeMs = rungAtMs('messages');
  ringer.ring('messages');
  expect(rungAtMs('messages')).toBe(madeMs);
  sleeper.arm('messages');
  ringer.ring('messages');
  const rungMs = rungAtMs('messages');
  ringer.ring('messages');
  expect(rungAtMs('messages')).toBe(rungMs);
});

test('of one kind does not disarm that of another', async () => {
  const woken = nextRing(sleeper, 'results');
  sleeper.arm('results');
  ringer.ring('messages');
  ringer.ring('results');
  await woken;
});

test('wakes all of several sleepers by one ring', async () => {
  const third = new Doorbell(join(folder, 'queue.db'), silentLogger);
  const woken = [nextRing(sleeper, 'messages'), nextRing(third, 'messages')];
  sleeper.arm('messages');
  third.arm('messages');
  ringer.ring('messages');
  await Promise.all(woken);
  third.close();
});

test('that cannot be armed makes the sleep short, and one that cannot be rung throws nothing', () => {
  rmSync(folder, { recursive: true });
  const nowhere = new Doorbell('/proc/none/queue.db', silentLogger);
  expect(nowhere.arm('messages')).toBeLessThanOrEqual(1_000);
  nowhere.ring('messages');
  nowhere.prepare();
  nowhere.close();
  folder = mkdtempSync(join(tmpdir(), 'lovage-bell-'));
});
