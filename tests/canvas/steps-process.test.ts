/** A worker killed with -9 between two steps of a task, or within one: the next worker goes on behind the last that had finished. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type RedisServer, startRedis } from '../support/redis-server.js';
import { CliWorker } from '../worker/cli-worker.js';

type Fixture = typeof import('./steps-app.js');

describe.each(['file', 'redis'])('on %s', (broker) => {
  let folder: string;
  let ledger: string;
  let redis: RedisServer | null;
  let tasks: Fixture;
  let workers: CliWorker[];
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'lovage-steps-process-'));
    ledger = join(folder, 'ledger');
    writeFileSync(ledger, '');
    redis = broker === 'redis' ? await startRedis() : null;
    process.env.LOVAGE_TEST_BROKER = redis?.url ?? `file:${join(folder, 'queue.db')}`;
    process.env.LOVAGE_TEST_LEDGER = ledger;
    tasks = (await import(/* @vite-ignore */ `${new URL('./steps-app.ts', import.meta.url).href}?${folder}`)) as Fixture;
    workers = [];
  });
  afterEach(async () => {
    await Promise.all(workers.map((worker) => worker.stop()));
    await tasks.app.close();
    await redis?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function start(): Promise<CliWorker> {
    const app = 'tests/canvas/steps-app.ts';
    const worker = await CliWorker.start(['--app', app, '--lease', '1s', '--threads', '1', '--events', 'off']);
    workers.push(worker);
    return worker;
  }

  test.each([
    ['before-3', [0, 1, 2, 3, 4]],
    ['in-3', [0, 1, 2, 3, 3, 4]],
  ])('a kill at %s repeats no finished step', { timeout: 60_000 }, async (moment, ran) => {
    writeFileSync(`${ledger}.${moment}`, '');
    const first = await start();
    const handle = await tasks.climb.send(5);
    expect(await first.exit(20_000)).toBe('SIGKILL');
    await start();
    expect(await handle.result({ timeout: '30s' })).toBe(10);
    expect(readFileSync(ledger, 'utf8').trim().split('\n')).toEqual(ran.map((nth) => `ran ${nth}`));
  });
});
