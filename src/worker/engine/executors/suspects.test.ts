/** Deliveries that wait for the one place alone: how many, and who comes next. */
import { describe, expect, test } from 'vitest';
import type { Delivery } from '../../../brokers/broker.js';
import type { Executors } from './executors.js';
import { Suspects } from './suspects.js';

const delivery = (tag: string): Delivery => ({ tag }) as Delivery;

/** A place alone, taken at first; who is judged takes it if it is in `takers`. */
function waitingRoom(slots: number, takers: readonly string[]) {
  const judged: string[] = [];
  const executors = { slots, alone: { isFree: false, onFree: () => {} } };
  const suspects = new Suspects(executors as unknown as Executors, ({ tag }) => {
    judged.push(tag);
    if (takers.includes(tag)) executors.alone.isFree = false;
  });
  const free = (): void => {
    executors.alone.isFree = true;
    executors.alone.onFree();
  };
  return { suspects, judged, free };
}

describe('deliveries that must run alone', () => {
  test('wait in the order in which they came, and each turn goes to one of them', () => {
    const { suspects, judged, free } = waitingRoom(40, ['a', 'b']);
    for (const tag of ['a', 'b']) expect(suspects.hold(delivery(tag))).toBe(true);
    expect(judged).toEqual([]);
    free();
    expect(judged).toEqual(['a']);
    free();
    expect(judged).toEqual(['a', 'b']);
    free();
    expect(judged).toEqual(['a', 'b']);
  });

  test('that turn out to need no turn pass it on', () => {
    const { suspects, judged, free } = waitingRoom(40, ['c']);
    for (const tag of ['expired', 'lost', 'c', 'd']) suspects.hold(delivery(tag));
    free();
    expect(judged).toEqual(['expired', 'lost', 'c']);
  });

  test.each([
    [40, 20],
    [3, 1],
    [1, 1],
  ])('with %i slots no more than %i wait here: the rest of the slots is for others', (slots, most) => {
    const { suspects } = waitingRoom(slots, []);
    const held = Array.from({ length: 50 }, (_, index) => suspects.hold(delivery(`${index}`)));
    expect(held.filter(Boolean)).toHaveLength(most);
  });
});
