import { expect, test } from 'vitest';
import type { Consumer } from '../../brokers/broker.js';
import { Credit } from './credit.js';

function setUp() {
  const state = { unsettled: 0, connected: true, granted: [] as [string, number][] };
  const consumer = { grant: (queue: string, count: number) => void state.granted.push([queue, count]) } as unknown as Consumer;
  const credit = new Credit({
    consumer: () => (state.connected ? consumer : null),
    unsettled: () => state.unsettled,
    maxUnsettled: 10,
  });
  return { state, credit };
}

test('what is given back is granted at once while settlements keep up', () => {
  const { state, credit } = setUp();
  state.unsettled = 10;
  credit.giveBack('a');
  expect(state.granted).toEqual([['a', 1]]);
});

test('while they are far behind nothing is granted, and then all that is owed, once', () => {
  const { state, credit } = setUp();
  state.unsettled = 11;
  for (const queue of ['a', 'b', 'a', 'a']) credit.giveBack(queue);
  expect(state.granted).toEqual([]);
  state.unsettled = 3;
  credit.pay();
  credit.pay();
  expect(state.granted).toEqual([
    ['a', 3],
    ['b', 1],
  ]);
});
