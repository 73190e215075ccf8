import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Logger, silentLogger } from '../../../core/logger.js';
import { DeadLetterPile } from './dead-letter-pile.js';

describe('the number of dead letters', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  /** Parks with so many dead letters there, and tells what the log says. */
  function pile() {
    const told: unknown[] = [];
    let asked = 0;
    let there: number | Error = 0;
    const logger: Logger = { ...silentLogger, warn: (fields) => void told.push(fields) };
    const count = async (): Promise<number> => {
      asked += 1;
      if (there instanceof Error) throw there;
      return there;
    };
    const watched = new DeadLetterPile(count, logger);
    const parkWith = async (now: number | Error, parkings = 1): Promise<void> => {
      there = now;
      for (let each = 0; each < parkings; each += 1) watched.grows();
      await vi.advanceTimersByTimeAsync(10_000);
    };
    return { told, asked: () => asked, parkWith };
  }

  test('is told at each power of ten, once', async () => {
    const { told, parkWith } = pile();
    for (const count of [1, 2, 9, 10, 11, 99, 250, 1_000, 1_001]) await parkWith(count);
    expect(told).toEqual([{ count: 1 }, { count: 10 }, { count: 250 }, { count: 1_000 }]);
  });

  test('is told again when it rises again after somebody has cleared up', async () => {
    const { told, parkWith } = pile();
    for (const count of [12, 1, 13]) await parkWith(count);
    expect(told).toEqual([{ count: 12 }, { count: 13 }]);
  });

  test('is asked for once in ten seconds, however much is parked', async () => {
    const { asked, parkWith } = pile();
    await parkWith(500, 500);
    expect(asked()).toBe(1);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked()).toBe(1);
  });

  test('that cannot be asked for now is asked for at the next parking', async () => {
    const { told, parkWith } = pile();
    await parkWith(new Error('no connection'));
    await parkWith(30);
    expect(told).toEqual([{ count: 30 }]);
  });
});
