/** The heap of due times beside a sorted list; and that it stays small however often times change. */
import { expect, test } from 'vitest';
import { DueHeap } from './heap.js';

/** Numbers that look random and are the same each time. */
function* numbers(): Generator<number, never> {
  for (let state = 12_345; ; ) {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    yield state;
  }
}

test('gives what is due in order, whatever was set, changed and taken away before', () => {
  const heap = new DueHeap();
  const model = new Map<string, number>();
  const draw = numbers();
  for (let step = 0; step < 5_000; step += 1) {
    const name = `n${draw.next().value % 300}`;
    const atMs = draw.next().value % 10_000;
    if (atMs % 7 === 0) {
      heap.set(name, null);
      model.delete(name);
    } else {
      heap.set(name, atMs);
      model.set(name, atMs);
    }
    if (step % 100 !== 0) continue;
    const nowMs = draw.next().value % 3_000;
    const due = [...model].filter(([, at]) => at <= nowMs).map(([, at]) => at);
    const taken = heap.take(nowMs, 1_000).map((one) => {
      const at = model.get(one) as number;
      model.delete(one);
      return at;
    });
    expect(taken).toEqual(due.sort((a, b) => a - b));
    expect(heap.size).toBe(model.size);
    expect(heap.first()).toBe(model.size === 0 ? null : Math.min(...model.values()));
  }
});

test('takes no more than it is asked for', () => {
  const heap = new DueHeap();
  for (let n = 0; n < 10; n += 1) heap.set(`n${n}`, n);
  expect(heap.take(100, 3)).toEqual(['n0', 'n1', 'n2']);
  expect(heap.size).toBe(7);
});

test('does not grow with the number of times that a time is changed', () => {
  const heap = new DueHeap();
  for (let n = 0; n < 100_000; n += 1) heap.set(`n${n % 10}`, n);
  expect(heap.size).toBe(10);
  expect(heap.places).toBeLessThan(2_000);
});
