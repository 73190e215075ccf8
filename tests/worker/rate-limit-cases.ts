/** What a rate limit promises on any broker: one suite, run by a file for each. */

import { type App, createApp, taskContext, type Worker } from 'lovage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from './harness.js';

/** A broker of the suite's own. */
export interface RateLimitBroker {
  readonly brokerUrl: string;
  readonly resultUrl: string;
  close(): Promise<void>;
}

interface Start {
  readonly task: 'limited' | 'free' | 'briefly';
  readonly number: number;
  readonly atMs: number;
  readonly attempt: number;
  readonly redelivered: boolean;
}

const PER_SECOND = 10;
/** What a busy machine may put off: starts that were due come later, and closer together. */
const LATE_STARTS = 5;
const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };

export function rateLimitSuite(name: string, open: () => Promise<RateLimitBroker>): void {
  describe(`a rate limit on ${name}`, () => {
    let broker: RateLimitBroker;
    beforeAll(async () => {
      broker = await open();
    });
    afterAll(() => broker.close());

    function application(queue: string) {
      const app: App = createApp({
        ...{ name: 'limits', broker: broker.brokerUrl, results: broker.resultUrl, logger: silent, defaultQueue: queue },
      });
      const starts: Start[] = [];
      const started = (task: Start['task'], number: number): void => {
        const { attempt, redelivered } = taskContext();
        starts.push({ task, number, atMs: performance.now(), attempt, redelivered });
      };
      const limited = app.fn('limited', (number: number) => started('limited', number), { rateLimit: `${PER_SECOND}/s` });
      const free = app.fn('free', (number: number) => started('free', number));
      const briefly = app.fn('briefly', (number: number) => started('briefly', number), { rateLimit: '1/m' });
      const worker = (): Promise<Worker> => app.worker({ pool: 'inline', concurrency: 2, grace: '2s', logger: silent });
      return { app, starts, limited, free, briefly, worker };
    }
    const rows = (count: number) => Array.from({ length: count }, (_, number) => ({ args: [number] as [number] }));

    test('spreads a burst over time, runs each once, and lets tasks behind it pass', { timeout: 60_000 }, async () => {
      const { app, starts, limited, free, worker: start } = application('spread');
      const sent = await limited.sendMany(rows(30));
      const passing = await free.sendMany(rows(20));
      const worker = await start();
      try {
        await Promise.all(passing.map((handle) => handle.result({ timeout: '30s' })));
        const before = starts.filter(({ task }) => task === 'limited').length;
        expect(before).toBeLessThan(25);
        await Promise.all(sent.map((handle) => handle.result({ timeout: '30s' })));

        const ran = starts.filter(({ task }) => task === 'limited');
        expect(ran.map(({ number }) => number).sort((a, b) => a - b)).toEqual(rows(30).map((_, number) => number));
        expect(ran.every(({ attempt, redelivered }) => attempt === 1 && !redelivered)).toBe(true);
        const times = ran.map(({ atMs }) => atMs);
        for (const [from, time] of times.entries()) {
          const within = times.slice(from).filter((other) => other - time < 1_000).length;
          expect(within, `starts in the second from ${Math.round(time - (times[0] as number))} ms on`).toBeLessThanOrEqual(
            PER_SECOND + LATE_STARTS,
          );
        }
        expect((times.at(-1) as number) - (times[0] as number)).toBeGreaterThan(2_900 - 500);
        expect(await worker.stats()).toMatchObject({ succeeded: 50, failed: 0, retried: 0, parked: 0, fenced: 0 });
      } finally {
        await worker.close();
        await app.close();
      }
    });

    test('keeps no slot: a task that may start once a minute holds up nobody', { timeout: 60_000 }, async () => {
      const { app, starts, free, briefly, worker: start } = application('slots');
      await briefly.sendMany(rows(12));
      const passing = await free.sendMany(rows(50));
      const worker = await start();
      try {
        await Promise.all(passing.map((handle) => handle.result({ timeout: '30s' })));
        expect(starts.filter(({ task }) => task === 'briefly')).toHaveLength(1);
        await until(async () => (await worker.stats()).active === 0, 'no slot is taken');
        expect(await worker.stats()).toMatchObject({ succeeded: 51, retried: 0, parked: 0 });
      } finally {
        await worker.close();
        await app.close();
      }
    });

    test('a limit that is changed by remote control holds at once, and until the worker ends', { timeout: 60_000 }, async () => {
      const { app, starts, briefly, worker: start } = application('changed');
      // Those that were put back before come when their time is up; these are new.
      const news = (first: number) => Array.from({ length: 5 }, (_, at) => ({ args: [first + at] as [number] }));
      const started = (first: number) =>
        until(() => starts.filter(({ number }) => number >= first).length === 5, `those from ${first} on have started`, 30_000);
      const worker = await start();
      try {
        await briefly.sendMany(rows(3));
        await until(() => starts.length > 0, 'the first has started', 30_000);
        const faster = await app.control.rateLimit('briefly', '50/s', { timeout: '30s', limit: 1 });
        expect([...faster.answers.values()]).toEqual([{ ok: 'new rate limit set successfully' }]);
        await briefly.sendMany(news(100));
        await started(100);
        const none = await app.control.rateLimit('briefly', 0, { timeout: '30s', limit: 1 });
        expect([...none.answers.values()]).toEqual([{ ok: 'rate limit disabled successfully' }]);
        await briefly.sendMany(news(200));
        await started(200);
      } finally {
        await worker.close();
        await app.close();
      }
    });

    test('what waits outlives its worker: the next one runs the rest, each once', { timeout: 60_000 }, async () => {
      const { app, starts, limited, worker: start } = application('outlives');
      const sent = await limited.sendMany(rows(24));
      // From the start: what is in memory is forgotten when nobody holds it.
      const results = Promise.all(sent.map((handle) => handle.result({ timeout: '50s' })));
      const first = await start();
      await until(() => starts.length >= 5, 'some have started', 30_000);
      await first.close();
      const before = starts.length;
      expect(before).toBeLessThan(24);
      const second = await start();
      try {
        await results;
        expect(starts.map(({ number }) => number).sort((a, b) => a - b)).toEqual(rows(24).map((_, number) => number));
        expect(starts.every(({ attempt }) => attempt === 1)).toBe(true);
        expect(await second.stats()).toMatchObject({ succeeded: 24 - before, parked: 0 });
      } finally {
        await second.close();
        await app.close();
      }
    });
  });
}
