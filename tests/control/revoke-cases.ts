/** What revoking promises on any broker: one suite, run by a file for each. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RevokeOutcome } from '../../src/app/control/revoke.js';
import { openBroker } from '../../src/brokers/from-url.js';
import { silentLogger as silent } from '../../src/core/logger.js';
import { type App, createApp, taskContext, type Worker } from '../../src/index.js';
import { encodeControlRequest } from '../../src/wire/control-message.js';
import { encodeTaskMessage } from '../../src/wire/task-message.js';
import { until } from '../worker/harness.js';

/** A broker of the suite's own, and what it can do. */
export interface RevokeBroker {
  readonly brokerUrl: string;
  readonly resultUrl: string;
  /** What waits for a time is removed; else it is recorded. */
  readonly withdraws: boolean;
  /** There is a place for records. */
  readonly records: boolean;
  close(): Promise<void>;
}

const REVOKED = { code: 'E_TASK_REVOKED' };
const WAIT = { timeout: '20s' } as const;

export function revokeSuite(name: string, open: () => Promise<RevokeBroker>): void {
  describe(`revoking on ${name}`, () => {
    let broker: RevokeBroker;
    beforeAll(async () => {
      broker = await open();
    }, 60_000);
    afterAll(() => broker.close());

    /** Runs `use` with an app on a queue of its own, and closes it whatever happens. */
    async function withApp(
      use: (parts: ReturnType<typeof application> & { start(): Promise<Worker> }) => Promise<void>,
    ): Promise<void> {
      const parts = application();
      const workers: Worker[] = [];
      const start = async (): Promise<Worker> => {
        const worker = await parts.app.worker({ pool: 'inline', concurrency: 4, grace: '1s', logger: silent });
        workers.push(worker);
        return worker;
      };
      try {
        await use({ ...parts, start });
      } finally {
        await Promise.all(workers.map((worker) => worker.close()));
        await parts.app.close();
      }
    }

    function application() {
      const queue = `revoking-${randomUUID().slice(0, 8)}`;
      const app: App = createApp({
        ...{ name: 'revoking', broker: broker.brokerUrl, results: broker.resultUrl, logger: silent, defaultQueue: queue },
        sendTimeout: '30s',
      });
      const ran: string[] = [];
      const reasons: unknown[] = [];
      const note = app.fn('note', (key: string): string => {
        ran.push(key);
        return key;
      });
      const long = app.fn('long', async (key: string): Promise<string> => {
        ran.push(key);
        const { signal } = taskContext();
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, 60_000);
          signal.addEventListener('abort', () => {
            clearTimeout(timer);
            reasons.push(signal.reason);
            resolve();
          });
        });
        return 'ended by its signal';
      });
      const deaf = app.fn('deaf', async (key: string): Promise<string> => {
        ran.push(key);
        await new Promise((resolve) => setTimeout(resolve, 4_000));
        return 'went on';
      });
      const revoker = app.fn('revoker', (id: string): Promise<RevokeOutcome> => app.handle(id).revoke());
      return { app, queue, ran, reasons, note, long, deaf, revoker };
    }

    const recorded = (): RevokeOutcome => (broker.records ? 'recorded' : 'broadcast-only');

    test('a task that waits for its time never runs, and whoever awaits it learns of that at once', {
      timeout: 60_000,
    }, async () => {
      await withApp(async ({ note, ran, start }) => {
        // On Redis what has a time waits in the broker only while somebody lives who brings it back.
        const worker = await start();
        expect(await (await note.send('first')).result(WAIT)).toBe('first');
        const doomed = await note.with({ countdown: '8s' }).send('doomed');
        const other = await note.with({ countdown: '8s' }).send('other');
        expect(await doomed.revoke()).toBe(broker.withdraws ? 'removed' : recorded());
        await expect(doomed.result({ timeout: '2s' })).rejects.toMatchObject(REVOKED);
        expect(await doomed.state()).toBe('REVOKED');
        expect(await other.result(WAIT)).toBe('other');
        if (broker.withdraws || broker.records) {
          await until(async () => (await worker.stats()).received >= (broker.withdraws ? 2 : 3), 'all that waited has come');
          expect(ran).toEqual(['first', 'other']);
        }
        expect(await doomed.state()).toBe('REVOKED');
      });
    });

    test("a Python client's revoke ends the wait at once, before any worker meets the message", async () => {
      await withApp(async ({ app, queue, start }) => {
        await start();
        // nobody takes this queue
        const lost = await app.remote<[], null>('lost', { queue: `${queue}-nobody` }).send();
        const sender = await openBroker({ url: broker.brokerUrl, logger: silent, role: 'client' });
        try {
          const request = { method: 'revoke', arguments: { task_id: lost.id, terminate: false, signal: 'SIGTERM' } };
          await sender.broadcast(encodeControlRequest(request, { json: 'plain' }));
          // Only its sender reads results there, and a worker knows no sender of a message that it has not seen.
          if (broker.resultUrl.startsWith('rpc:')) return;
          await expect(lost.result(WAIT)).rejects.toMatchObject(REVOKED);
          expect(await lost.state()).toBe('REVOKED');
        } finally {
          await sender.close();
        }
      });
    });

    test('a revoke that is recorded while no worker lives holds for those that start later', async () => {
      await withApp(async ({ app, note, ran, start }) => {
        const [first, doomed, last] = [await note.send('first'), await note.send('doomed'), await note.send('last')];
        expect([...(await app.control.revoke([doomed.id]))]).toEqual([[doomed.id, recorded()]]);
        expect(await doomed.state()).toBe('REVOKED');
        if (!broker.records) return;
        await start();
        expect([await first.result(WAIT), await last.result(WAIT)]).toEqual(['first', 'last']);
        await start();
        const after = await note.send('after');
        expect(await after.result(WAIT)).toBe('after');
        expect(ran).toEqual(['first', 'last', 'after']);
        expect(await doomed.state()).toBe('REVOKED');
      });
    });

    test('a worker that lives drops a task that was revoked before it was sent, and says how many', async () => {
      await withApp(async ({ app, note, ran, start }) => {
        const worker = await start();
        const id = randomUUID();
        await app.control.revoke(id);
        // The worker has heard of it once it answers.
        await until(
          async () => [...(await app.control.revoked()).answers.values()].some((ids) => ids.includes(id)),
          'it is known',
        );
        await note.with({ id }).send('doomed');
        expect(await (await note.send('next')).result(WAIT)).toBe('next');
        await until(async () => (await worker.stats()).received >= 2, 'both have come');
        expect(ran).toEqual(['next']);
      });
    });

    test('a task that runs goes on, unless it is to be terminated: then its signal aborts, whatever it still returns', async () => {
      await withApp(async ({ long, ran, reasons, start }) => {
        await start();
        const running = await long.send('running');
        await until(() => ran.includes('running'), 'it runs');
        await running.revoke();
        expect(reasons).toEqual([]);
        await running.revoke({ terminate: true });
        await until(() => reasons.length === 1, 'its signal aborts');
        expect(reasons[0]).toMatchObject(REVOKED);
        await until(async () => (await running.status()).error?.message === 'terminated', 'its result says so');
        expect(await running.state()).toBe('REVOKED');
      });
    });

    test('a task that does not heed its signal is abandoned within a moment, and its slot is free', async () => {
      await withApp(async ({ app, deaf, note, ran, start }) => {
        await start();
        const handles = await Promise.all(['a', 'b', 'c', 'd'].map((key) => deaf.send(key)));
        await until(() => ran.length === 4, 'all slots are taken');
        await app.control.revoke(
          handles.map(({ id }) => id),
          { terminate: true, signal: 'SIGKILL' },
        );
        expect(await (await note.send('next')).result(WAIT)).toBe('next');
        for (const handle of handles) await until(async () => (await handle.state()) === 'REVOKED', 'it is revoked');
      });
    });

    test('works inside tasks', async () => {
      await withApp(async ({ note, revoker, start }) => {
        await start();
        const doomed = await note.with({ countdown: '1h' }).send('doomed');
        const outcome = await (await revoker.send(doomed.id)).result(WAIT);
        expect(outcome).toBe(broker.withdraws ? 'removed' : recorded());
        expect(await doomed.state()).toBe('REVOKED');
      });
    });

    test('a success that is stored already stays', async () => {
      await withApp(async ({ note, start }) => {
        await start();
        const done = await note.send('done');
        expect(await done.result(WAIT)).toBe('done');
        await done.revoke();
        expect(await done.state()).toBe('SUCCESS');
      });
    });

    test('tasks with a stamp are dropped by the workers that heard of it', async () => {
      await withApp(async ({ app, queue, ran, start }) => {
        await start();
        await app.control.revokeByStampedHeaders({ tenant: ['acme'] });
        const own = await openBroker({ url: broker.brokerUrl, logger: silent, role: 'client' });
        const stamped = async (tenant: string) => {
          const call = { task: 'note', id: randomUUID(), args: [tenant], kwargs: {} };
          const headers = { stamped_headers: ['tenant'], stamps: { tenant: [tenant] } };
          const plain = encodeTaskMessage(call, { nowMs: Date.now() });
          const message = { ...plain, headers: { ...plain.headers, ...headers } };
          await own.publish([{ to: { queue }, message }], { timeoutMs: 5_000 });
          return app.handle(call.id);
        };
        const doomed = await stamped('acme');
        const other = await stamped('other');
        await own.close();
        expect(await other.result(WAIT)).toBe('other');
        await expect(doomed.result(WAIT)).rejects.toMatchObject(REVOKED);
        expect(ran).toEqual(['other']);
      });
    });
  });
}
