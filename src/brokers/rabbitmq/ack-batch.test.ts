import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AckBatch } from './ack-batch.js';

const frames = (batch: AckBatch): [number, boolean][] => {
  const written: [number, boolean][] = [];
  batch.flush((tag, upTo) => written.push([tag, upTo]));
  return written;
};

describe('which acknowledgements are written', () => {
  test('everything finished below the lowest open tag is one frame, the rest are single', () => {
    const batch = new AckBatch();
    for (let tag = 1; tag <= 8; tag += 1) batch.deliver(tag);
    for (const tag of [3, 1, 2, 6, 8]) batch.finish(tag);
    expect(frames(batch)).toEqual([
      [3, true],
      [6, false],
      [8, false],
    ]);
    expect(frames(batch)).toEqual([]);
    batch.finish(4);
    batch.finish(5);
    expect(frames(batch)).toEqual([[5, true]]);
    expect(batch.open).toBe(1);
  });

  test('a lone tag is acknowledged alone, and a tag that was never delivered not at all', () => {
    const batch = new AckBatch();
    batch.deliver(1);
    batch.finish(1);
    batch.finish(1);
    batch.finish(99);
    expect(frames(batch)).toEqual([[1, false]]);
  });

  test('a nacked tag holds nothing back and is never acknowledged by itself', () => {
    const batch = new AckBatch();
    for (const tag of [1, 2, 3]) batch.deliver(tag);
    batch.drop(1);
    batch.finish(2);
    batch.finish(3);
    expect(frames(batch)).toEqual([[3, true]]);
  });

  test('nothing is kept of a million deliveries that finish above one that stays open', () => {
    const batch = new AckBatch();
    batch.deliver(1);
    let written = 0;
    for (let tag = 2; tag <= 1_000_000; tag += 1) {
      batch.deliver(tag);
      batch.finish(tag);
      if (tag % 100 === 0) batch.flush(() => (written += 1));
    }
    batch.flush(() => (written += 1));
    expect([batch.open, batch.due, written]).toEqual([1, false, 999_999]);
  });

  test('whatever the order, exactly the finished tags are acknowledged', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom('deliver', 'finish', 'drop', 'flush'), fc.nat(40)), { maxLength: 200 }),
        (steps) => {
          const batch = new AckBatch();
          let next = 1;
          const open = new Set<number>();
          const finished = new Set<number>();
          const settled = new Set<number>();
          const acked = new Set<number>();
          const flush = (): void =>
            batch.flush((tag, upTo) => {
              // as the broker reads it: a frame for everything up to a tag takes all that is not settled
              for (let each = upTo ? 1 : tag; each <= tag; each += 1) if (!settled.has(each)) acked.add(each);
              for (const each of acked) settled.add(each);
            });
          for (const [step, number] of steps) {
            if (step === 'deliver') {
              open.add(next);
              batch.deliver(next++);
            } else if (step === 'flush') flush();
            else if (open.has(number)) {
              open.delete(number);
              if (step === 'finish') {
                finished.add(number);
                batch.finish(number);
              } else {
                settled.add(number);
                batch.drop(number);
              }
            }
          }
          flush();
          expect([...acked].sort((a, b) => a - b)).toEqual([...finished].sort((a, b) => a - b));
          expect(batch.open).toBe(open.size);
        },
      ),
    );
  });
});
