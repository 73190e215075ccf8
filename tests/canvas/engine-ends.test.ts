/** Runs that the engine ends, because their executor cannot or is gone: what stands behind them ends too. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chain, chord, createApp, group } from 'lovage';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CliWorker } from '../worker/cli-worker.js';
import { until } from '../worker/harness.js';

type Fixture = typeof import('./engine-ends-app.js');

const APP = 'tests/canvas/engine-ends-app.ts';
const SOON = { timeout: '30s' } as const;
const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };

let folder: string;
let tasks: Fixture;
let worker: CliWorker | null = null;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lovage-ends-'));
  process.env.LOVAGE_TEST_BROKER = `file:${join(folder, 'queue.db')}`;
  process.env.LOVAGE_TEST_LEDGER = join(folder, 'ledger');
  tasks = (await import(/* @vite-ignore */ `${new URL('./engine-ends-app.ts', import.meta.url).href}?${folder}`)) as Fixture;
});
afterEach(async () => {
  await worker?.stop();
  worker = null;
  await tasks.app.close();
  rmSync(folder, { recursive: true, force: true });
});

const alerts = (): string[] => {
  const file = join(folder, 'ledger');
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : [];
};

describe('a run that the engine ends', () => {
  test('by force at its hard limit fails the chain behind it, and its errback is called', { timeout: 60_000 }, async () => {
    worker = await CliWorker.start(['--app', APP, '--threads', '1', '--events', 'off']);
    const { spin, add, alert } = tasks;
    const handle = await chain(spin.si(), add.s(1), add.s(2)).onError(alert.s()).send();
    await expect(handle.result(SOON)).rejects.toMatchObject({ type: 'TimeLimitExceeded' });
    await until(() => alerts().length > 0, 'the errback has run');
    expect(alerts()).toHaveLength(1);
  });

  test('because its child died after an early ack fails the chord that it was a part of', { timeout: 60_000 }, async () => {
    worker = await CliWorker.start(['--app', APP, '--pool', 'processes', '--processes', '1', '--events', 'off']);
    const { die, add, sum, alert } = tasks;
    const handle = await chord(group([add.si(1, 1), die.si()]), sum.s())
      .onError(alert.s())
      .send();
    await expect(handle.result(SOON)).rejects.toMatchObject({ type: 'ChordError', message: /WorkerLostError/ });
    await until(() => alerts().length > 0, 'the errback has run');
    expect(alerts()).toEqual([`alert ${handle.id}`]);
  });
});

describe.each(['memory:deadlines', 'file'])('a chord on %s', (name) => {
  test('of which a part never ends fails by its deadline, once', { timeout: 60_000 }, async () => {
    const url = name === 'file' ? `file:${join(folder, 'deadline.db')}` : name;
    const app = createApp({ broker: url, results: url, logger: silent, resultTtl: '3s' });
    const add = app.fn('add', (x: number, y: number) => x + y);
    const sum = app.fn('sum', (numbers: number[]) => numbers.length);
    const failed: string[] = [];
    const alert = app.fn('alert', (id: string) => void failed.push(id));
    const workers = await Promise.all([1, 2].map(() => app.worker({ pool: 'inline', logger: silent, grace: '1s' })));
    try {
      const never = add.with({ queue: 'nobody' }).si(1, 1);
      const handle = await chord(group(add.si(1, 1), never), sum.s())
        .onError(alert.s())
        .send();
      await expect(handle.result(SOON)).rejects.toMatchObject({ type: 'ChordError', message: /deadline/ });
      await until(() => failed.length > 0, 'the errback has run');
      expect(failed).toEqual([handle.id]);
    } finally {
      for (const each of workers) await each.close();
      await app.close();
    }
  });
});
