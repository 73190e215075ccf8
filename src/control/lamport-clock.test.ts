import { describe, expect, test } from 'vitest';
import { LamportClock } from './lamport-clock.js';

describe('a logical clock', () => {
  test('starts at 0 and rises by one with each thing that happens', () => {
    const clock = new LamportClock();
    expect(clock.value).toBe(0);
    expect([clock.tick(), clock.tick()]).toEqual([1, 2]);
    expect(clock.value).toBe(2);
  });

  test('is later than whatever it has heard of, and never goes back', () => {
    const clock = new LamportClock();
    expect(clock.adjust(40)).toBe(41);
    expect(clock.adjust(3)).toBe(42);
  });

  test.each([[Number.NaN], [Infinity], [-5], [1.5], ['7'], [null], [undefined], [Number.MAX_SAFE_INTEGER]])(
    'does not believe %s, and counts on',
    (nonsense) => {
      const clock = new LamportClock();
      clock.tick();
      expect(clock.adjust(nonsense)).toBe(2);
      expect(Number.isSafeInteger(clock.tick() + 1)).toBe(true);
    },
  );
});
