/** The arithmetic of rate limits, on a simulated delay store: what has to wait comes back when it was told to, or a little later. */
import { describe, expect, test } from 'vitest';
import type { TaskFacts } from '../../port.js';
import { RateBucket, RateLimits } from './rate-limits.js';

/** Deterministic, so that a failure is the same one again. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 4_294_967_296;
    return state / 4_294_967_296;
  };
}

interface Coming {
  readonly atMs: number;
  readonly order: number;
  readonly task: number;
}

/** The earliest first; a heap, for the bursts here are large. */
class Delays {
  readonly #heap: Coming[] = [];
  #order = 0;

  get size(): number {
    return this.#heap.length;
  }

  add(atMs: number, task: number): void {
    const heap = this.#heap;
    heap.push({ atMs, order: this.#order++, task });
    for (let at = heap.length - 1; at > 0; ) {
      const parent = (at - 1) >> 1;
      if (!earlier(heap[at] as Coming, heap[parent] as Coming)) return;
      swap(heap, at, parent);
      at = parent;
    }
  }

  take(): Coming {
    const heap = this.#heap;
    swap(heap, 0, heap.length - 1);
    const first = heap.pop() as Coming;
    for (let at = 0; ; ) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < heap.length && earlier(heap[child] as Coming, heap[least] as Coming)) least = child;
      }
      if (least === at) return first;
      swap(heap, at, least);
      at = least;
    }
  }
}

const earlier = (a: Coming, b: Coming): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
function swap(heap: Coming[], a: number, b: number): void {
  const kept = heap[a] as Coming;
  heap[a] = heap[b] as Coming;
  heap[b] = kept;
}

interface Started {
  readonly atMs: number;
  readonly task: number;
}

/** Plays arrivals against workers with a limit each, all on one queue; the delay store is up to `lateMs` late. */
function play(
  workers: readonly RateBucket[],
  arrivals: readonly number[],
  lateMs = 20,
): { readonly started: readonly Started[]; readonly looks: readonly number[] } {
  const random = randomOf(7);
  const delays = new Delays();
  for (const [task, atMs] of arrivals.entries()) delays.add(atMs, task);
  const started: Started[] = [];
  const looks: number[] = [];
  while (delays.size > 0) {
    const { atMs, task } = delays.take();
    looks.push(atMs);
    const worker = workers[Math.floor(random() * workers.length)] as RateBucket;
    const waitMs = worker.take(atMs);
    if (waitMs === 0) started.push({ atMs, task });
    else delays.add(atMs + waitMs + random() * lateMs, task);
  }
  return { started, looks };
}

/** The most entries that lie within so many milliseconds. */
function mostWithin(times: readonly number[], windowMs: number): number {
  let most = 0;
  for (let from = 0, to = 0; to < times.length; to += 1) {
    while ((times[to] as number) - (times[from] as number) >= windowMs) from += 1;
    most = Math.max(most, to - from + 1);
  }
  return most;
}

const burst = (count: number, startMs = 0): number[] => Array.from({ length: count }, (_, at) => startMs + at * 0.2);

describe('a rate limit', () => {
  test('with an exact delay store, 30 tasks at 10 a second start 100 ms apart, in order', () => {
    const { started } = play([new RateBucket(100)], burst(30), 0);
    expect(started.map(({ task }) => task)).toEqual(Array.from({ length: 30 }, (_, task) => task));
    for (const [at, { atMs }] of started.entries()) expect(atMs).toBeCloseTo(at * 100, 6);
  });

  test('a late delay store costs no rate: late starts keep their turn, and no second has more than one too many', () => {
    const { started } = play([new RateBucket(100)], burst(300), 60);
    const times = started.map(({ atMs }) => atMs);
    expect(mostWithin(times, 1_000)).toBeLessThanOrEqual(11);
    expect(times.at(-1)).toBeLessThan(299 * 100 + 100);
  });

  test('an idle minute is not followed by a burst', () => {
    const bucket = new RateBucket(100);
    expect(bucket.take(0)).toBe(0);
    expect([60_000, 60_000, 60_000].map((atMs) => bucket.take(atMs))).toEqual([0, 100, 200]);
  });

  test('when the last of those that waited has started, nothing is left over for others', () => {
    const bucket = new RateBucket(1_000);
    expect([bucket.take(0), bucket.take(0), bucket.take(1_005)]).toEqual([0, 1_000, 0]);
    expect(bucket.take(2_900)).toBe(0);
    expect(bucket.take(2_900)).toBe(1_000);
  });

  test('those who were promised a start and never came hold nothing up, and leave at most two behind', () => {
    const bucket = new RateBucket(100);
    for (let at = 0; at < 50; at += 1) bucket.take(0);
    const starts: number[] = [];
    for (let atMs = 10_000; atMs < 12_000; atMs += 10) if (bucket.take(atMs) === 0) starts.push(atMs);
    expect(starts[0]).toBe(10_000);
    expect(mostWithin(starts, 1_000)).toBeLessThanOrEqual(11);
  });

  test('a stall of the delay store is not made up for with a flood', () => {
    const bucket = new RateBucket(10);
    for (let at = 0; at < 500; at += 1) bucket.take(0);
    // 300 places of 10 ms have passed unused; all of them come at once
    const starts = Array.from({ length: 300 }, () => bucket.take(3_000)).filter((waitMs) => waitMs === 0);
    expect(starts.length).toBeLessThanOrEqual(250 / 10 + 1);
  });

  test('a burst of 10,000 is spread: a distinct place each within a minute, looks that do not thunder, the order roughly kept', () => {
    const bucket = new RateBucket(100);
    const waits = Array.from({ length: 10_000 }, () => bucket.take(0));
    expect(new Set(waits).size).toBe(10_000);
    expect(waits).toEqual([...waits].sort((a, b) => a - b));

    const { started, looks } = play([new RateBucket(100)], burst(10_000));
    const afterBurst = looks.filter((atMs) => atMs > 2_100);
    expect(mostWithin(afterBurst, 1_000)).toBeLessThan(50);
    expect(looks.length / 10_000).toBeLessThan(4);
    const displaced = started.reduce((sum, { task }, at) => sum + Math.abs(task - at), 0) / started.length;
    expect(displaced).toBeLessThan(100);
    expect(started.at(-1)?.atMs).toBeLessThan(10_000 * 100 * 1.01);
  });

  test('a slow limit with a large backlog: a handful of looks a second, and no start is missed', () => {
    const { started, looks } = play([new RateBucket(3_600_000 / 60)], burst(200));
    expect(
      mostWithin(
        looks.filter((atMs) => atMs > 1_000),
        1_000,
      ),
    ).toBeLessThanOrEqual(6);
    expect(started.at(-1)?.atMs).toBeLessThan(200 * 60_000 * 1.01);
  });

  test('three workers on one queue, who get each other’s tasks back, use most of what each may start, and none more than it may', () => {
    const workers = [new RateBucket(6_000), new RateBucket(6_000), new RateBucket(6_000)];
    const { started } = play(workers, burst(300));
    const times = started.map(({ atMs }) => atMs);
    const idealMs = (300 / 3) * 6_000;
    expect(times.at(-1)).toBeLessThan(idealMs * 1.25);
    expect(mostWithin(times, 60_000)).toBeLessThanOrEqual(3 * 12);
  });

  test('arrivals at twice the rate for a while do not starve those that wait', () => {
    const arrivals = Array.from({ length: 600 }, (_, at) => at * 50);
    const { started } = play([new RateBucket(100)], arrivals);
    expect(started).toHaveLength(600);
    expect(started.at(-1)?.atMs).toBeLessThan(600 * 100 * 1.02);
  });

  test('what expires before its start takes no place from others and comes back to expire', () => {
    const bucket = new RateBucket(1_000);
    expect(bucket.take(0)).toBe(0);
    expect(bucket.take(0, 400)).toBe(400);
    expect(bucket.take(0)).toBe(1_000);
    expect(bucket.take(0, 5_000)).toBe(2_000);
  });
});

describe('the limits of a worker', () => {
  const factsOf = (name: string, rateLimit: string | null): TaskFacts => ({
    name,
    ack: 'late',
    ignoreResult: false,
    resultTtlMs: null,
    trackStarted: false,
    endlessRetry: false,
    softTimeLimitMs: null,
    timeLimitMs: null,
    rateLimit,
  });
  const slow = factsOf('slow', '1/s');
  const free = factsOf('free', null);
  const limits = (): RateLimits => new RateLimits(new Map([slow, free].map((facts) => [facts.name, facts])));

  test('count for each task alone', () => {
    const rates = limits();
    expect([rates.take(slow, 0), rates.take(slow, 0)]).toEqual([0, 1_000]);
    expect(Array.from({ length: 100 }, () => rates.take(free, 0))).toEqual(new Array(100).fill(0));
  });

  test('are told as text', () => {
    const rates = limits();
    expect([rates.of('slow'), rates.of('free'), rates.of('nobody')]).toEqual(['1/s', null, null]);
  });

  test('can be set, changed and lifted while the worker runs', () => {
    const rates = limits();
    expect(rates.set('free', '10/s')).toBe('10/s');
    expect([rates.take(free, 0), rates.take(free, 0)]).toEqual([0, 100]);
    expect(rates.set('slow', 100)).toBe('100');
    expect([rates.take(slow, 0), rates.take(slow, 0)]).toEqual([0, 10]);
    expect(rates.of('slow')).toBe('100');
    expect(rates.set('slow', 0)).toBeNull();
    expect([rates.take(slow, 0), rates.take(slow, 0)]).toEqual([0, 0]);
    expect(rates.of('slow')).toBeNull();
  });

  test('of a task that nobody registered are refused, so that their number is bounded', () => {
    const rates = limits();
    for (let at = 0; at < 1_000; at += 1) expect(rates.set(`nobody-${at}`, '1/s')).toBeUndefined();
    expect(rates.of('nobody-1')).toBeNull();
  });

  test('that are no rates are refused and change nothing', () => {
    const rates = limits();
    expect(() => rates.set('slow', 'often')).toThrow(expect.objectContaining({ code: 'E_CONFIG_RANGE' }));
    expect(rates.of('slow')).toBe('1/s');
  });
});
