/** What dedupe promises on any broker, from the sender to the run: one suite, run by a file for each. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { codeOf, createApp, type Worker } from 'lovage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from './harness.js';
import type { RateLimitBroker } from './rate-limit-cases.js';

const SENDER = fileURLToPath(new URL('./dedupe-sender.mjs', import.meta.url));
const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
const HOUR = { for: '1h' } as const;

/** @param processes how many processes send at once; 0 where nobody else can reach the broker */
export function dedupeSuite(name: string, processes: number, open: () => Promise<RateLimitBroker>): void {
  describe(`dedupe on ${name}`, () => {
    let broker: RateLimitBroker;
    beforeAll(async () => {
      broker = await open();
    });
    afterAll(() => broker.close());

    const application = (defaultQueue = 'lovage') => {
      const app = createApp({
        ...{ broker: broker.brokerUrl, results: broker.resultUrl, logger: silent, sendTimeout: '60s', defaultQueue },
      });
      const runs: string[] = [];
      const inside: unknown[] = [];
      const task = app.fn('once', (label: string = 'none') => {
        runs.push(label);
        return label;
      });
      const outer = app.fn('outer', async (key: string) => {
        const first = await task.with({ dedupe: { key, ...HOUR } }).send('inside');
        const again = await task.with({ dedupe: { key, ...HOUR } }).send('inside');
        inside.push(first.deduplicated, again.deduplicated, again.id === first.id);
        try {
          await task.with({ dedupe: { key, ...HOUR, onConflict: 'reject' } }).send('inside');
        } catch (error) {
          inside.push(codeOf(error), (error as { existingId?: string }).existingId === first.id);
        }
      });
      const worker = (): Promise<Worker> => app.worker({ pool: 'inline', concurrency: 4, grace: '2s', logger: silent });
      return { app, runs, inside, task, outer, worker };
    };

    test('1,000 sends of one key at once give one run, and its result to all of them', { timeout: 90_000 }, async () => {
      const { app, runs, task, worker: start } = application('thousand');
      const sends = Array.from({ length: 1_000 }, (_, at) =>
        task.with({ dedupe: { key: 'thousand', ...HOUR } }).send(`send ${at}`),
      );
      const handles = await Promise.all(sends);
      expect(handles.filter(({ deduplicated }) => !deduplicated)).toHaveLength(1);
      expect(new Set(handles.map(({ id }) => id)).size).toBe(1);
      const worker = await start();
      try {
        const results = await Promise.all(handles.slice(0, 20).map((handle) => handle.result({ timeout: '30s' })));
        expect(new Set(results).size).toBe(1);
        // What is sent last is served last: whatever else there was has run by now.
        await (await task.send('last')).result({ timeout: '30s' });
        expect(runs).toEqual([results[0], 'last']);
        // The window is one of time.
        expect((await task.with({ dedupe: { key: 'thousand', ...HOUR } }).send()).deduplicated).toBe(true);
      } finally {
        await worker.close();
        await app.close();
      }
    });

    test('rows of one batch, other keys and other tasks do not get in each other’s way', { timeout: 60_000 }, async () => {
      const { app, task } = application('rows');
      const other = app.fn('other', () => 1);
      const dedupe = (key: string) => ({ options: { dedupe: { key, ...HOUR } } });
      const rows = [
        { args: ['a'] as [string], ...dedupe('one') },
        { args: ['b'] as [string], ...dedupe('two') },
        { args: ['c'] as [string], ...dedupe('one') },
        { args: ['d'] as [string] },
      ];
      const handles = await task.sendMany(rows);
      expect(handles.map(({ deduplicated }) => deduplicated)).toEqual([false, false, true, false]);
      expect(handles[2]?.id).toBe(handles[0]?.id);
      expect((await other.with({ dedupe: { key: 'one', ...HOUR } }).send()).deduplicated).toBe(false);
      await app.close();
    });

    test('tasks that send tasks are told as other senders are', { timeout: 60_000 }, async () => {
      const { app, runs, inside, outer, worker: start } = application('inside');
      const worker = await start();
      try {
        await (await outer.send('inside')).result({ timeout: '30s' });
        expect(inside).toEqual([false, true, true, 'E_DUPLICATE_SEND', true]);
        await until(() => runs.length === 1, 'it has run');
      } finally {
        await worker.close();
        await app.close();
      }
    });

    // Memory has one process.
    if (processes > 0)
      test(`${processes} processes that send one key at once give one run`, { timeout: 90_000 }, async () => {
        const children: ChildProcess[] = [];
        try {
          const answers = Array.from({ length: processes }, () => {
            const child = spawn(process.execPath, [SENDER, broker.brokerUrl, broker.resultUrl, 'processes', '250'], {
              stdio: ['pipe', 'pipe', 'inherit'],
            });
            children.push(child);
            return createInterface({ input: child.stdout })[Symbol.asyncIterator]();
          });
          for (const lines of answers) expect((await lines.next()).value).toBe('ready');
          for (const child of children) child.stdin?.write('go\n');
          const told = await Promise.all(
            answers.map(async (lines) => JSON.parse((await lines.next()).value) as { sent: string[]; told: string[] }),
          );
          const sent = told.flatMap((each) => each.sent);
          expect(sent).toHaveLength(1);
          expect(new Set(told.flatMap((each) => each.told))).toEqual(new Set(sent));
          await Promise.all(children.map((child) => child.exitCode ?? once(child, 'exit')));

          const { app, runs, task, worker: start } = application();
          const worker = await start();
          await (await task.send('last')).result({ timeout: '30s' });
          expect(runs).toEqual(['none', 'last']);
          await worker.close();
          await app.close();
        } finally {
          for (const child of children) child.kill('SIGKILL');
        }
      });
  });
}
