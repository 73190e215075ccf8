import { describe, expect, test } from 'vitest';
import { CreditGate } from './credit-gate.js';

const gateOf = (credits: Record<string, number>, total: number): CreditGate<string> =>
  new CreditGate(
    Object.entries(credits).map(([name, credit]) => ({ name, credit })),
    total,
  );

describe('the credit gate', () => {
  test('gives no more than the credit of a queue, and the rest once it is granted', () => {
    const gate = gateOf({ a: 2 }, 10);
    for (const item of ['1', '2', '3', '4']) gate.offer('a', item, 0);
    expect(gate.take(0)).toEqual(['1', '2']);
    expect(gate.take(0)).toEqual([]);
    gate.grant('a', 1);
    expect(gate.take(0)).toEqual(['3']);
    expect(gate.waiting).toBe(1);
  });

  test('gives no more than the total, one of each queue in turn', () => {
    const gate = gateOf({ long: 5, short: 5 }, 3);
    for (const item of ['l1', 'l2', 'l3', 'l4']) gate.offer('long', item, 0);
    gate.offer('short', 's1', 0);
    expect(gate.take(0)).toEqual(['l1', 's1', 'l2']);
  });

  test('tells how many a queue could give the engine, and nothing while some of it waits', () => {
    const gate = gateOf({ a: 4, b: 0 }, 3);
    expect([gate.starving('a'), gate.starving('b'), gate.starving('unknown')]).toEqual([3, 0, 0]);
    gate.offer('a', '1', 0);
    expect(gate.starving('a')).toBe(0);
    gate.take(0);
    expect(gate.starving('a')).toBe(2);
  });

  test('gives what goes first before all that waits, and counts it like the rest', () => {
    const gate = gateOf({ a: 1, b: 1 }, 2);
    for (const item of ['1', '2']) gate.offer('a', item, 0);
    gate.offer('a', 'back again', 0, true);
    expect([gate.waiting, gate.starving('a')]).toEqual([3, 0]);
    expect(gate.take(0)).toEqual(['back again']);
    gate.offer('a', 'another', 5, true);
    expect(gate.stalled(5)).toEqual(['a']);
    gate.grant('a', 2);
    expect(gate.take(6)).toEqual(['another', '1']);
    gate.offer('a', 'third', 7, true);
    expect(gate.clear('a')).toEqual(['third', '2']);
    expect(gate.waiting).toBe(0);
  });

  test('names a queue as stalled only while something of it waits and nothing moved', () => {
    const gate = gateOf({ a: 1, b: 1 }, 1);
    gate.offer('a', 'a1', 100);
    gate.offer('b', 'b1', 100);
    gate.take(150);
    expect([gate.stalled(99), gate.stalled(100)]).toEqual([[], ['b']]);
    gate.grant('b', 1);
    gate.take(200);
    expect(gate.stalled(1_000)).toEqual([]);
  });

  test('empties one queue or all, in order, and ignores what it does not know', () => {
    const gate = gateOf({ a: 0, b: 0 }, 5);
    for (const [queue, item] of [
      ['a', '1'],
      ['b', '2'],
      ['a', '3'],
      ['unknown', '4'],
    ] as const)
      gate.offer(queue, item, 0);
    expect(gate.offer('unknown', '5', 0)).toBe(false);
    gate.grant('unknown', 5);
    expect(gate.clear('a')).toEqual(['1', '3']);
    expect(gate.clear()).toEqual(['2']);
    expect(gate.waiting).toBe(0);
  });

  test('keeps order and lets go of what it gave, over more items than it compacts at once', () => {
    const gate = gateOf({ a: 0 }, 0);
    for (let item = 0; item < 5_000; item += 1) gate.offer('a', String(item), 0);
    const taken: string[] = [];
    while (taken.length < 5_000) {
      gate.grant('a', 700);
      taken.push(...gate.take(0));
    }
    expect(taken).toEqual(Array.from({ length: 5_000 }, (_, item) => String(item)));
    expect(gate.waiting).toBe(0);
  });
});
