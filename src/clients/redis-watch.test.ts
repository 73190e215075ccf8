import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { LinkWatch } from './redis-watch.js';

describe('LinkWatch', () => {
  let deaths: string[];
  let pings: number;
  let everyMs: number | null;
  let unwritten: number;
  let watch: LinkWatch;
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    deaths = [];
    pings = 0;
    everyMs = null;
    unwritten = 0;
    watch = new LinkWatch({
      heartbeatMs: () => everyMs,
      ping: () => {
        pings += 1;
      },
      unwritten: () => unwritten,
      onDead: (cause) => deaths.push(cause.message),
    });
  });
  afterEach(() => {
    watch.stop();
    vi.useRealTimers();
  });
  const pass = (ms: number): void => void vi.advanceTimersByTime(ms);

  test('gives up 2.5 s after a command that nothing answers, and says so once', () => {
    watch.sent(100);
    pass(2_400);
    expect(deaths).toEqual([]);
    pass(200);
    expect(deaths).toEqual(['the connection looks open, but there was no answer for 2.5 s']);
    pass(60_000);
    expect(deaths).toHaveLength(1);
  });

  test('counts from the last sign of life', () => {
    watch.sent(100);
    for (let round = 0; round < 8; round += 1) {
      pass(1_000);
      watch.heard(10_000);
    }
    expect(deaths).toEqual([]);
    pass(2_600);
    expect(deaths).toHaveLength(1);
  });

  test('does not mind silence when nothing is awaited', () => {
    watch.sent(100);
    watch.answered(100);
    pass(600_000);
    expect(deaths).toEqual([]);
    watch.sent(100);
    pass(2_600);
    expect(deaths).toHaveLength(1);
  });

  test('gives much that is on its way out ten seconds, and longer while it is being taken', () => {
    unwritten = 5_000_000;
    watch.sent(5_000_000);
    pass(9_000);
    expect(deaths).toEqual([]);
    while (unwritten > 0) {
      unwritten -= 1_000_000;
      pass(9_000);
    }
    expect(deaths).toEqual([]);
    pass(30_000);
    expect(deaths).toEqual(['the connection looks open, but there was no answer for 10 s']);
  });

  test('gives up a connection that gives a byte now and then and never an answer', () => {
    watch.sent(100);
    for (let second = 0; second < 12 && deaths.length === 0; second += 1) {
      pass(1_000);
      watch.heard(1);
    }
    expect(deaths).toEqual([expect.stringMatching(/bytes of an answer in 10 s/)]);
  });

  test('keeps one that gives whole answers, however small and slow', () => {
    watch.sent(10);
    for (let second = 0; second < 60; second += 1) {
      pass(2_000);
      watch.heard(5);
      watch.sent(10);
      watch.answered(10);
    }
    expect(deaths).toEqual([]);
  });

  test('keeps one with a big answer over a slow line', () => {
    watch.sent(100);
    for (let second = 0; second < 120; second += 1) {
      pass(1_000);
      watch.heard(1_000);
    }
    expect(deaths).toEqual([]);
  });

  test('does not blame the server for time in which our own process stood still', () => {
    watch.sent(100);
    const realNow = performance.now.bind(performance);
    pass(1_000);
    // the loop was blocked for a minute: the timer fires late, and the answer lies in the socket
    vi.spyOn(performance, 'now').mockImplementation(() => realNow() + 60_000);
    pass(1_100);
    expect(deaths).toEqual([]);
    watch.heard(10);
    watch.answered(100);
    pass(10_000);
    expect(deaths).toEqual([]);
    vi.restoreAllMocks();
  });

  test('asks a quiet connection as often as it is told to at the moment, and only then', () => {
    pass(30_000);
    expect(pings).toBe(0);
    everyMs = 2_000;
    watch.sent(10);
    watch.heard(10);
    watch.answered(10);
    pass(10_000);
    expect(pings).toBeGreaterThanOrEqual(3);
    everyMs = null;
    const before = pings;
    pass(60_000);
    expect(pings - before).toBeLessThanOrEqual(1);
  });
});
