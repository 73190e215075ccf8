/**
 * A chord of 100 parts whose worker is killed with -9 on the way, or whose Redis is paused or killed: the body runs, or its errback is
 * called, within 30 s of the last fault. Never nothing.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chord, group, type TaskHandle } from 'lovage';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type RedisServer, startRedis } from '../support/redis-server.js';
import { CliWorker } from '../worker/cli-worker.js';
import { until } from '../worker/harness.js';

type Fixture = typeof import('./process-app.js');

const APP = 'tests/canvas/process-app.ts';
const PARTS = 100;
const SUM = (PARTS * (PARTS - 1)) / 2;
const SOON = { timeout: '30s' } as const;

describe.each(['file', 'redis'])('on %s', (broker) => {
  let folder: string;
  let ledger: string;
  let redis: RedisServer | null;
  let tasks: Fixture;
  let workers: CliWorker[];
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'lovage-chord-process-'));
    ledger = join(folder, 'ledger');
    writeFileSync(ledger, '');
    redis = broker === 'redis' ? await startRedis({ durable: true }) : null;
    process.env.LOVAGE_TEST_BROKER = redis?.url ?? `file:${join(folder, 'queue.db')}`;
    process.env.LOVAGE_TEST_LEDGER = ledger;
    tasks = (await import(/* @vite-ignore */ `${new URL('./process-app.ts', import.meta.url).href}?${folder}`)) as Fixture;
    workers = [];
  });
  afterEach(async () => {
    await Promise.all(workers.map((worker) => worker.stop()));
    await tasks.app.close();
    await redis?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function start(): Promise<CliWorker> {
    const worker = await CliWorker.start(['--app', APP, '--lease', '1s', '--threads', '1', '--events', 'off']);
    workers.push(worker);
    return worker;
  }

  const noted = (what: string): string[] =>
    readFileSync(ledger, 'utf8')
      .split('\n')
      .filter((line) => line.startsWith(`${what} `));
  const send = (delayMs = 20): Promise<TaskHandle<number>> =>
    chord(group(Array.from({ length: PARTS }, (_, nth) => tasks.part.si(nth, delayMs))), tasks.body.s())
      .onError(tasks.alert.s())
      .send();

  /** The body ran so often, each time with all results, its own result stays, and no errback was called. */
  async function ended(handle: TaskHandle<number>, bodies: number): Promise<void> {
    expect(await handle.result(SOON)).toBe(SUM);
    const settled = await handle.status();
    expect(settled).toMatchObject({ state: 'SUCCESS', result: SUM });
    await Promise.all(workers.map((worker) => worker.stop()));
    expect(noted('body')).toEqual(Array.from({ length: bodies }, () => `body ${SUM}`));
    expect(new Set(noted('part')).size).toBe(PARTS);
    expect(noted('alert')).toEqual([]);
    expect(await handle.status()).toEqual(settled);
  }

  test.each([
    ['began-50', 1],
    ['ended-50', 1],
    ['ended-99', 1],
    ['began-body', 2],
    ['ended-body', 2],
  ])('a chord ends with its result when its worker is killed at %s', { timeout: 60_000 }, async (moment, bodies) => {
    writeFileSync(`${ledger}.${moment}`, '');
    const first = await start();
    const handle = await send();
    expect(await first.exit(20_000)).toBe('SIGKILL');
    await start();
    await ended(handle, bodies);
  });

  test.each(['began-50', 'ended-50'])(
    'a chord ends with its result when one of two workers is killed at %s',
    { timeout: 60_000 },
    async (moment) => {
      writeFileSync(`${ledger}.${moment}`, '');
      const both = await Promise.all([start(), start()]);
      const handle = await send();
      await until(() => both.some((worker) => worker.ended === 'SIGKILL'), 'one of them was killed', 20_000);
      await ended(handle, 1);
    },
  );

  test('a part that kills every worker fails the chord and calls its errback once', { timeout: 60_000 }, async () => {
    const { poison, part, body, alert } = tasks;
    const parts = [poison.si(), ...Array.from({ length: PARTS - 1 }, (_, nth) => part.si(nth, 20))];
    const handle = await chord(group(parts), body.s()).onError(alert.s()).send();
    for (let deaths = 0; deaths < 3; deaths++) expect(await (await start()).exit(20_000)).toBe('SIGKILL');
    await start();
    await expect(handle.result(SOON)).rejects.toMatchObject({ code: 'E_TASK_FAILED', type: 'ChordError' });
    await until(() => noted('alert').length > 0, 'the errback has run', 30_000);
    await Promise.all(workers.map((worker) => worker.stop()));
    expect(noted('alert')).toEqual([expect.stringContaining(handle.id)]);
    expect(noted('body')).toEqual([]);
  });

  /** With a chord around it, a part that fails, and errbacks of both. */
  async function sendFailing(): Promise<TaskHandle<number>> {
    const { part, fail, body, alert } = tasks;
    const parts = Array.from({ length: PARTS }, (_, nth) => (nth === 40 ? fail.si(nth) : part.si(nth, 20)));
    const inner = chord(group(parts), body.s()).onError(alert.s());
    return await chord(group(inner, part.si(PARTS, 20)), body.s())
      .onError(alert.s())
      .send();
  }

  /** The handle rejects, no body ran, and each of the two errbacks was sent once; it ran so often. */
  async function failed(handle: TaskHandle<number>, runs: number): Promise<void> {
    await expect(handle.result(SOON)).rejects.toMatchObject({ code: 'E_TASK_FAILED', type: 'ChordError' });
    // the one that was cut off comes back with its worker's lease, which may be after the other
    await until(() => new Set(noted('alert')).size === 2 && noted('alert').length >= runs, 'the errbacks have run', 30_000);
    await Promise.all(workers.map((worker) => worker.stop()));
    expect(new Set(noted('alert')).size).toBe(2);
    expect(noted('alert')).toHaveLength(runs);
    expect(noted('alert').filter((line) => line.includes(handle.id)).length).toBeGreaterThan(0);
    expect(noted('body')).toEqual([]);
  }

  test('chords within each other fail with one errback each when the worker is killed at the failure', {
    timeout: 60_000,
  }, async () => {
    const first = await start();
    const handle = await sendFailing();
    await first.until(() => noted('failed').length > 0);
    first.child.kill('SIGKILL');
    await first.exit(5_000);
    await start();
    await failed(handle, 2);
  });

  test('an errback whose worker is killed runs again, as the same task', { timeout: 60_000 }, async () => {
    writeFileSync(`${ledger}.began-alert`, '');
    const first = await start();
    const handle = await sendFailing();
    expect(await first.exit(20_000)).toBe('SIGKILL');
    await start();
    await failed(handle, 3);
  });

  if (broker === 'redis') {
    const halfway = (): Promise<void> => until(() => noted('part').length >= PARTS / 2, 'half of the parts have begun', 20_000);

    test('a chord ends with its result when Redis answers nothing for 3 s', { timeout: 60_000 }, async () => {
      await Promise.all([start(), start()]);
      const handle = await send(100);
      await halfway();
      redis?.pause();
      setTimeout(() => redis?.resume(), 3_000);
      await ended(handle, 1);
    });

    test('a chord ends with its result when Redis is killed and started again', { timeout: 60_000 }, async () => {
      await Promise.all([start(), start()]);
      const handle = await send(100);
      await halfway();
      await redis?.kill9();
      await redis?.restart();
      await ended(handle, 1);
    });
  }
});
