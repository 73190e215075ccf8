/** The timed set in memory: ends, caps, versions. The shared ones are held by the conformance suites. */
import { describe, expect, it } from 'vitest';
import { LONGEST_NAME, MemoryTimedSet } from './timed-set.js';

function setAt(most: number, whenFull: 'refuse' | 'drop-oldest') {
  const clock = { nowMs: 1_000 };
  return { clock, set: new MemoryTimedSet({ most, whenFull, nowMs: () => clock.nowMs }) };
}

describe('a timed set in memory', () => {
  it('forgets a name when its time is over, and is empty again', () => {
    const { clock, set } = setAt(10, 'refuse');
    set.add('short', 2_000);
    set.add('long', 5_000);
    expect(set.version).toBeGreaterThan(0);
    clock.nowMs += 2_000;
    expect([set.has('short'), set.has('long')]).toEqual([false, true]);
    expect(set.version).toBeGreaterThan(0);
    expect(set.size).toBe(1);
    clock.nowMs += 3_000;
    expect(set.version).toBe(0);
    expect(set.size).toBe(0);
  });

  it('keeps a name for the longest time that was asked for', () => {
    const { clock, set } = setAt(10, 'refuse');
    set.add('a', 10_000);
    set.add('a', 1_000);
    clock.nowMs += 9_000;
    expect(set.has('a')).toBe(true);
  });

  it('refuses what is beyond its cap, and takes it once something has ended', () => {
    const { clock, set } = setAt(2, 'refuse');
    expect([set.add('a', 5_000), set.add('b', 60_000), set.add('c', 5_000), set.add('a', 5_000)]).toEqual([
      true,
      true,
      false,
      true,
    ]);
    clock.nowMs += 5_000;
    expect(set.add('c', 5_000)).toBe(true);
    expect(set.size).toBe(2);
  });

  it('drops the oldest where it is told to, and never holds more than its cap', () => {
    const { set } = setAt(100, 'drop-oldest');
    for (let index = 0; index < 1_000; index += 1) set.add(`id-${index}`, 60_000);
    expect(set.size).toBe(100);
    const names: string[] = [];
    set.forEachNewest((name) => names.push(name) < 3);
    expect(names).toEqual(['id-999', 'id-998', 'id-997']);
    expect(set.has('id-899')).toBe(false);
  });

  it('has another version after each addition', () => {
    const { set } = setAt(10, 'refuse');
    const versions = ['a', 'b', 'a'].map((name) => {
      set.add(name, 1_000);
      return set.version;
    });
    expect(new Set(versions).size).toBe(3);
  });

  it('takes no name that is too long to be an id', () => {
    const { set } = setAt(10, 'drop-oldest');
    expect(set.add('x'.repeat(LONGEST_NAME + 1), 1_000)).toBe(false);
    expect(set.add('', 1_000)).toBe(false);
    expect(set.size).toBe(0);
  });
});
