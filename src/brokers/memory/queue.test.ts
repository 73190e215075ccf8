import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DelayHeap, type Entry, MemoryQueue } from './queue.js';

const entry = (priority = 0): Entry => ({ message: null, raw: new Uint8Array(), priority, redelivered: false, losses: 0 });

test('a queue behaves like a list sorted by priority, whatever is put in at either end', () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ op: fc.constantFrom('back', 'front'), priority: fc.integer({ min: 0, max: 9 }) }) },
    { weight: 3, arbitrary: fc.constant({ op: 'shift', priority: 0 }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const queue = new MemoryQueue('q');
      let model: Entry[] = [];
      for (const { op, priority } of steps) {
        if (op === 'shift') {
          expect(queue.shift()).toBe(model.shift());
        } else {
          const added = entry(priority);
          if (op === 'back') {
            queue.pushBack(added);
            const at = model.findIndex((other) => other.priority < priority);
            model.splice(at < 0 ? model.length : at, 0, added);
          } else {
            queue.pushFront(added);
            const at = model.findIndex((other) => other.priority <= priority);
            model.splice(at < 0 ? model.length : at, 0, added);
          }
        }
        expect(queue.ready).toBe(model.length);
      }
      expect([...queue]).toEqual(model);
      while (model.length > 0) expect(queue.shift()).toBe(model.shift());
      expect(queue.shift()).toBeUndefined();
      model = [];
    }),
    { numRuns: 300 },
  );
});

test('a queue that is never empty does not keep what was taken from it', async () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const queue = new MemoryQueue('q');
  const taken: WeakRef<Entry>[] = [];
  queue.pushBack(entry());
  for (let index = 0; index < 20_000; index += 1) {
    queue.pushBack(entry());
    const one = queue.shift();
    if (one) taken.push(new WeakRef(one));
  }
  await new Promise((resolve) => setImmediate(resolve));
  collectGarbage();
  expect(taken).toHaveLength(20_000);
  expect(queue.ready).toBe(1);
  expect(taken.filter((one) => one.deref() !== undefined).length).toBeLessThan(1_100);
});

test('the heap gives what is due by time, and in the order of putting in within one time', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 120 }),
      fc.integer({ min: 0, max: 20 }),
      (times, nowMs) => {
        const heap = new DelayHeap();
        const [mine, other] = [new MemoryQueue('mine'), new MemoryQueue('other')];
        const entries = times.map((atMs, index) => ({ atMs, index, entry: entry() }));
        for (const { atMs, index, entry: one } of entries) heap.push(index % 3 === 0 ? other : mine, one, atMs);
        const sorted = [...entries].sort((a, b) => a.atMs - b.atMs || a.index - b.index);
        expect(heap.nextAtMs).toBe(sorted[0]?.atMs ?? Infinity);
        expect(heap.of(mine).map((one) => one.entry)).toEqual(
          sorted.filter(({ index }) => index % 3 !== 0).map((one) => one.entry),
        );
        const due: Entry[] = [];
        for (let next = heap.popDue(nowMs); next; next = heap.popDue(nowMs)) due.push(next.entry);
        expect(due.map((one) => entries.findIndex((other2) => other2.entry === one))).toEqual(
          sorted.filter(({ atMs }) => atMs <= nowMs).map(({ index }) => index),
        );
        const left = sorted.filter(({ atMs }) => atMs > nowMs);
        const dropped = heap.take(({ queue }) => queue === other);
        expect(dropped).toHaveLength(left.filter(({ index }) => index % 3 === 0).length);
        const rest: Entry[] = [];
        for (let next = heap.popDue(Infinity); next; next = heap.popDue(Infinity)) rest.push(next.entry);
        expect(rest).toEqual(left.filter(({ index }) => index % 3 !== 0).map((one) => one.entry));
      },
    ),
    { numRuns: 300 },
  );
});

test('a time that is no number is due at once and stalls nobody', () => {
  const heap = new DelayHeap();
  const queue = new MemoryQueue('q');
  heap.push(queue, entry(), 5);
  heap.push(queue, entry(), Number.NaN);
  heap.push(queue, entry(), -1);
  expect([heap.popDue(0), heap.popDue(0)].map((one) => one?.atMs)).toEqual([0, 0]);
  expect(heap.popDue(0)).toBeUndefined();
  expect(heap.popDue(5)?.atMs).toBe(5);
});
