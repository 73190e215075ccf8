import { describe, expect, test } from 'vitest';
import { createFakeClock } from '../../../testing/fake-clock.js';
import { Autoscaler } from './autoscale.js';

function scaled(min: number, max: number, executors = min) {
  const clock = createFakeClock(0);
  const state = { executors, load: 0 };
  const sizes: number[] = [];
  const autoscaler = new Autoscaler({
    ...{ min, max, clock },
    size: () => ({ executors: state.executors, slotsEach: 10 }),
    load: () => state.load,
    resize: (wanted) => {
      sizes.push(wanted);
      state.executors = wanted;
    },
  });
  autoscaler.start();
  return { autoscaler, clock, state, sizes };
}

describe('the autoscaler', () => {
  test('adds one executor at a time while all slots are busy, up to its most', () => {
    const { clock, state, sizes } = scaled(1, 3);
    state.load = 1_000;
    clock.advance(10_000);
    expect(sizes).toEqual([2, 3]);
  });

  test('is not moved by a burst that is over in a moment', () => {
    const { clock, state, sizes } = scaled(1, 3);
    state.load = 10;
    clock.advance(1_500);
    state.load = 9;
    clock.advance(10_000);
    expect(sizes).toEqual([]);
  });

  test('takes one away when as many slots as it has have been free for half a minute, down to its least', () => {
    const { clock, state, sizes } = scaled(1, 3, 3);
    state.load = 22;
    clock.advance(35_000);
    expect(sizes).toEqual([]);
    state.load = 8;
    clock.advance(29_000);
    expect(sizes).toEqual([]);
    clock.advance(3_000);
    expect(sizes).toEqual([2]);
    clock.advance(100_000);
    expect(sizes).toEqual([2, 1]);
  });

  test('goes within new bounds at once, and refuses those that cross', () => {
    const { autoscaler, sizes } = scaled(2, 3);
    expect(autoscaler.update(8, 5)).toEqual({ min: 5, max: 8 });
    expect(sizes).toEqual([5]);
    expect(autoscaler.update(4, 1)).toEqual({ min: 1, max: 4 });
    expect(sizes).toEqual([5, 4]);
    expect(() => autoscaler.update(2, 3)).toThrow('min=3 is more than max=2');
    expect(autoscaler.bounds).toEqual({ min: 1, max: 4 });
  });

  test('does nothing once it is closed', () => {
    const { autoscaler, clock, state, sizes } = scaled(1, 3);
    state.load = 1_000;
    autoscaler.close();
    clock.advance(60_000);
    expect(sizes).toEqual([]);
  });
});
