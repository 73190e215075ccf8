/** What broadcast queues promise of whole workers on any broker: one suite, run by a file for each. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger as silent } from '../../src/core/logger.js';
import { type App, createApp, taskContext, type Worker } from '../../src/index.js';
import { until } from './harness.js';

export interface BroadcastServer {
  readonly brokerUrl: string;
  readonly resultUrl: string;
  close(): Promise<void>;
}

export function broadcastSuite(name: string, open: () => Promise<BroadcastServer>): void {
  describe(`broadcast queues on ${name}`, () => {
    let server: BroadcastServer;
    beforeAll(async () => {
      server = await open();
    }, 60_000);
    afterAll(() => server.close());

    /** One application in two processes, as far as brokers can tell: an app each. */
    async function withApps(use: (parts: { one: Node; two: Node; queue: string }) => Promise<void>): Promise<void> {
      const queue = `news-${randomUUID().slice(0, 8)}`;
      const nodes = [node(queue, `one@${queue}`), node(queue, `two@${queue}`)] as const;
      try {
        await use({ one: nodes[0], two: nodes[1], queue });
      } finally {
        for (const each of nodes) await each.close();
      }
    }

    function node(queue: string, name: string) {
      const app: App = createApp({
        ...{ name: 'broadcast', broker: server.brokerUrl, results: server.resultUrl, logger: silent, sendTimeout: '20s' },
        ...{ defaultQueue: `own-${queue}`, queues: { [queue]: { broadcast: true } }, routes: { 'news.routed': { queue } } },
      });
      const ran: string[] = [];
      const note = app.fn('news.note', (text: string) => void ran.push(text), { queue, ignoreResult: true });
      const routed = app.fn('news.routed', (text: string) => void ran.push(text), { ignoreResult: true });
      const flaky = app.fn(
        'news.flaky',
        (text: string) => {
          const { attempt } = taskContext();
          ran.push(`${text} ${attempt}`);
          if (attempt === 1) throw new Error('once more');
        },
        { queue, ignoreResult: true, retry: { max: 1, backoff: 'fixed', base: '50ms', jitter: 'none' } },
      );
      const workers: Worker[] = [];
      const start = async (...queues: string[]): Promise<Worker> => {
        const taken = Object.fromEntries((queues.length > 0 ? queues : [queue]).map((each) => [each, 4]));
        const worker = await app.worker({ name, pool: 'inline', queues: taken, grace: '1s', logger: silent });
        workers.push(worker);
        return worker;
      };
      const close = async (): Promise<void> => {
        for (const worker of workers) await worker.close();
        await app.close();
      };
      return { app, name, ran, note, routed, flaky, start, close };
    }

    type Node = ReturnType<typeof node>;

    test('each worker that listens runs a task that is sent there, by its queue or by its route, and who comes later misses it', async () => {
      await withApps(async ({ one, two }) => {
        await one.note.send('before anybody listens');
        await one.start();
        await one.note.send('for one');
        await until(() => one.ran.length === 1, 'the first to run it');
        await two.start();
        await two.note.send('for both');
        await one.routed.send('by route');
        await until(() => one.ran.length === 3 && two.ran.length === 2, 'both to run it');
        expect(one.ran).toEqual(['for one', 'for both', 'by route']);
        expect(two.ran).toEqual(['for both', 'by route']);
      });
    });

    test('a retry and a countdown stay with the worker that heard the task', async () => {
      await withApps(async ({ one, two }) => {
        await one.start();
        await two.start();
        const sentMs = Date.now();
        await one.flaky.send('try');
        await two.note.with({ countdown: '1s' }).send('later');
        const all = ['try 1', 'try 2', 'later'];
        await until(() => one.ran.length === 3 && two.ran.length === 3, 'all to have run');
        expect(Date.now() - sentMs).toBeGreaterThanOrEqual(1_000);
        expect([one.ran, two.ran]).toEqual([all, all]);
      });
    });

    test('a worker takes ordinary queues beside it, and a thousand broadcasts reach each worker once', async () => {
      await withApps(async ({ one, two, queue }) => {
        const double = one.app.fn('own.double', (x: number) => x * 2);
        await one.start(queue, `own-${queue}`);
        await two.start();
        const rows = Array.from({ length: 1_000 }, (_, index) => ({ args: [`row ${index}`] as [string] }));
        await one.note.sendMany(rows);
        expect(await (await double.send(21)).result({ timeout: '20s' })).toBe(42);
        await until(() => one.ran.length >= 1_000 && two.ran.length >= 1_000, 'all to have run', 20_000);
        const sent = rows.map(({ args }) => args[0]).sort();
        expect([[...one.ran].sort(), [...two.ran].sort()]).toEqual([sent, sent]);
      });
    });

    test('a worker that cancels the queue hears nothing until it takes it again', async () => {
      await withApps(async ({ one, two, queue }) => {
        await one.start(queue, `own-${queue}`);
        await two.start();
        const { control } = one.app;
        const to = { timeout: '5s', destination: one.name } as const;
        const takes = async (): Promise<boolean> => {
          const { answers } = await control.activeQueues(to);
          return answers.get(one.name)?.some(({ name }) => name === queue) === true;
        };
        await control.cancelConsumer(queue, to);
        await until(async () => !(await takes()), 'it has left the queue');
        await one.note.send('missed');
        await until(() => two.ran.length === 1, 'the other to run it');
        await control.addConsumer(queue, to);
        await until(takes, 'it takes the queue again');
        await two.note.send('heard');
        await until(() => one.ran.length === 1 && two.ran.length === 2, 'both to run it');
        expect(one.ran).toEqual(['heard']);
      });
    });
  });
}
