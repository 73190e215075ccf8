import { expect, test } from 'vitest';
import { createFakeClock } from './fake-clock.js';

test('stands still until it is moved, and moves both times', () => {
  const clock = createFakeClock(1_000);
  const startMs = clock.monotonicMs();
  expect(clock.nowMs()).toBe(1_000);
  clock.advance(250);
  expect(clock.nowMs()).toBe(1_250);
  expect(clock.monotonicMs() - startMs).toBe(250);
});

test('runs due timers in the order of their times, each at its own time, and those of one time in the order of setting', () => {
  const clock = createFakeClock(0);
  const seen: string[] = [];
  const note = (name: string) => () => seen.push(`${name}@${clock.nowMs()}`);
  clock.after(30, note('c'));
  clock.after(10, note('a'));
  clock.after(10, note('b'));
  clock.after(31, note('late'));
  clock.advance(30);
  expect(seen).toEqual(['a@10', 'b@10', 'c@30']);
  expect(clock.timers).toBe(1);
});

test('runs timers that timers set, if they fall due within the same move', () => {
  const clock = createFakeClock(0);
  const seen: number[] = [];
  const tick = (): void => {
    seen.push(clock.nowMs());
    clock.after(10, tick);
  };
  clock.after(10, tick);
  clock.advance(35);
  expect(seen).toEqual([10, 20, 30]);
  expect(clock.nowMs()).toBe(35);
});

test('does not run a cancelled timer, even if another one cancels it in the same move', () => {
  const clock = createFakeClock(0);
  const seen: string[] = [];
  const cancel = clock.after(20, () => seen.push('cancelled'));
  clock.after(10, () => cancel());
  clock.advance(100);
  cancel();
  expect(seen).toEqual([]);
  expect(clock.timers).toBe(0);
});

test('goes to the next timer and tells when it is', () => {
  const clock = createFakeClock(500);
  expect(clock.nextDueMs()).toBeNull();
  expect(clock.advanceToNext()).toBe(false);
  let ran = 0;
  clock.after(70, () => (ran += 1));
  clock.after(70, () => (ran += 1));
  expect(clock.nextDueMs()).toBe(570);
  expect(clock.advanceToNext()).toBe(true);
  expect([ran, clock.nowMs()]).toEqual([2, 570]);
});

test('a jump of the wall clock moves no timer and not the monotonic clock', () => {
  const clock = createFakeClock(1_000);
  let ran = 0;
  clock.after(10, () => (ran += 1));
  clock.jumpWall(-600);
  expect([clock.nowMs(), clock.monotonicMs(), ran]).toEqual([400, 0, 0]);
  clock.advance(10);
  expect([clock.nowMs(), ran]).toEqual([410, 1]);
});

test('refuses to go back, and a timer that sets itself again without delay for ever', () => {
  const clock = createFakeClock(0);
  expect(() => clock.advance(-1)).toThrow(RangeError);
  expect(() => clock.advance(Number.NaN)).toThrow(RangeError);
  const again = (): void => {
    clock.after(0, again);
  };
  clock.after(0, again);
  expect(() => clock.advance(1)).toThrow(/100000 timers/);
});
