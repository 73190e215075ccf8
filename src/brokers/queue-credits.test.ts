import { describe, expect, test } from 'vitest';
import { QueueCredits } from './queue-credits.js';

const wish = (credit: number, queues: Readonly<Record<string, number>>) => ({
  credit,
  queues: Object.entries(queues).map(([name, limit]) => ({ name, credit: limit })),
});
const asked = (credits: QueueCredits): Record<string, number> =>
  Object.fromEntries(credits.wanted(1_000).map(({ name, limit }) => [name, limit]));

describe('credit by queue and in total', () => {
  test('is used up by what comes and given back by grants', () => {
    const credits = new QueueCredits(wish(5, { a: 4, b: 4 }));
    credits.take('a', 4);
    expect([credits.left, asked(credits)]).toEqual([1, { b: 4 }]);
    credits.take('b', 1);
    expect([credits.left, asked(credits)]).toEqual([0, {}]);
    credits.grant('a', 2);
    expect([credits.left, asked(credits)]).toEqual([2, { a: 2, b: 3 }]);
  });

  test('lets each queue lead in its turn', () => {
    const credits = new QueueCredits(wish(9, { a: 1, b: 1, c: 1 }));
    const leaders = [1, 2, 3].map(() => credits.wanted(10)[0]?.name);
    expect(new Set(leaders)).toEqual(new Set(['a', 'b', 'c']));
  });

  test('of a queue that comes back is less by what is still out of it', () => {
    const credits = new QueueCredits(wish(10, { a: 6, b: 6 }));
    credits.take('a', 5);
    credits.change(wish(10, { b: 6 }));
    expect([credits.left, asked(credits)]).toEqual([5, { b: 6 }]);
    // one more came that was on its way, and two have ended
    credits.take('a', 1);
    credits.grant('a', 2);
    credits.change(wish(10, { b: 6, a: 6 }));
    expect([credits.left, asked(credits)]).toEqual([6, { a: 2, b: 6 }]);
  });

  test('forgets a queue that was left with its last delivery', () => {
    const credits = new QueueCredits(wish(10, { a: 6 }));
    credits.take('a', 2);
    credits.change(wish(10, {}));
    credits.grant('a', 1);
    credits.grant('a', 1);
    credits.grant('a', 1);
    credits.change(wish(10, { a: 6 }));
    expect(asked(credits)).toEqual({ a: 6 });
  });

  test('that shrinks below what is out waits until enough has ended', () => {
    const credits = new QueueCredits(wish(10, { a: 10 }));
    credits.take('a', 8);
    credits.change(wish(3, { a: 3 }));
    expect([credits.left, asked(credits)]).toEqual([-5, {}]);
    credits.grant('a', 6);
    expect([credits.left, asked(credits)]).toEqual([1, { a: 1 }]);
    credits.change(wish(10, { a: 10 }));
    expect([credits.left, asked(credits)]).toEqual([8, { a: 8 }]);
  });
});
