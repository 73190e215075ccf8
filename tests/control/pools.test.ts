/** Pools that grow, shrink and scale by load while tasks run: whole threads and processes, and slots where there is one executor. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Worker, WorkerOptions } from 'lovage';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { openBroker } from '../../src/brokers/from-url.js';
import { silentLogger } from '../../src/core/logger.js';
import { encodeControlRequest } from '../../src/wire/control-message.js';
import { until } from '../worker/harness.js';
import { askOne } from './ask.js';

type Fixture = typeof import('./pool-app.js');

const MODULE = new URL('./pool-app.ts', import.meta.url).href;

describe.each(['threads', 'processes'] as const)('pool %s', (pool) => {
  let folder: string;
  let broker: Broker;
  let fixture: Fixture;
  let worker: Worker | null = null;
  const gate = (name: string): string => join(folder, name);
  const open = (name: string): void => writeFileSync(gate(name), '');

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'lovage-pools-'));
    const url = `file:${join(folder, 'queue.db')}`;
    process.env.LOVAGE_TEST_BROKER = url;
    fixture = (await import(/* @vite-ignore */ `${MODULE}?${folder}`)) as Fixture;
    broker = await openBroker({ url, logger: silentLogger, role: 'engine' });
  });
  afterEach(async () => {
    for (const name of ['a', 'b', 'c']) open(name);
    await worker?.close();
    worker = null;
    await fixture.app.close();
    await broker.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const start = async (options: WorkerOptions): Promise<void> => {
    worker = await fixture.app.worker({ name: 'p@suite', pool, module: MODULE, grace: '5s', logger: silentLogger, ...options });
  };
  const one = (method: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> => askOne(broker, method, args);
  const running = async (): Promise<number> => ((await one('active')) as unknown[]).length;
  const send = (count: number, name: string) =>
    fixture.hold.sendMany(Array.from({ length: count }, () => ({ args: [gate(name)] as [string] })));

  test('gets another executor, which takes what waits, and gives one up without losing anything', {
    timeout: 60_000,
  }, async () => {
    await start({ [pool]: 1, concurrency: 2 });
    const first = await send(6, 'a');
    await until(async () => (await running()) === 2, 'two run');
    expect(await one('pool_grow', { n: 1 })).toEqual({ ok: 'pool will grow' });
    await until(async () => (await running()) === 4, 'four run', 20_000);
    const grown = (await one('stats')) as { pool: { processes: number[]; 'max-concurrency': number } };
    expect(grown.pool['max-concurrency']).toBe(4);
    expect(await one('pool_shrink', { n: 1 })).toEqual({ ok: 'pool will shrink' });
    expect(await one('pool_shrink', { n: 1 })).toEqual({ error: 'the pool has 1 executors: it can have 1 to 512' });
    open('a');
    const places = new Set(await Promise.all(first.map((handle) => handle.result({ timeout: '30s' }))));
    expect(places.size).toBe(2);
    const second = await send(4, 'b');
    await until(async () => (await running()) >= 2, 'two run again');
    await until(async () => (await worker?.report())?.executors === 1, 'one executor is left', 20_000);
    expect(await running()).toBe(2);
    open('b');
    const later = new Set(await Promise.all(second.map((handle) => handle.result({ timeout: '30s' }))));
    expect(later.size).toBe(1);
    expect((await worker?.stats())?.failed).toBe(0);
  });

  test('follows the load between its bounds, which can be changed', { timeout: 60_000 }, async () => {
    await start({ autoscale: { max: 2, min: 1 }, concurrency: 1 });
    expect(await one('pool_grow', { n: 1 })).toEqual({
      error: 'pool_grow is not supported with autoscale. Adjust autoscale range instead.',
    });
    const handles = await send(5, 'a');
    await until(async () => (await running()) === 2, 'two run', 20_000);
    expect(await one('autoscale', { max: 3, min: 1 })).toEqual({ ok: 'autoscale now max=3 min=1' });
    await until(async () => (await running()) === 3, 'three run', 20_000);
    expect(await one('autoscale', { max: 1, min: 2 })).toEqual({ error: "ValueError('min=2 is more than max=1')" });
    expect(await one('autoscale', { max: 1, min: 1 })).toEqual({ ok: 'autoscale now max=1 min=1' });
    open('a');
    await Promise.all(handles.map((handle) => handle.result({ timeout: '30s' })));
    await until(async () => (await worker?.report())?.executors === 1, 'one executor is left', 20_000);
  });

  test('runs a command of the app in an executor, whichever there is', { timeout: 60_000 }, async () => {
    await start({ [pool]: 1, concurrency: 1 });
    const answer = (await one('pools_where', { x: [1, 'é'] })) as { pid: number };
    expect(answer).toEqual({ pid: expect.any(Number), nodeName: 'p@suite', args: { x: [1, 'é'] } });
    if (pool === 'processes') expect(answer.pid).not.toBe(process.pid);
    else expect(answer.pid).toBe(process.pid);
    const { pool: shown } = (await one('stats')) as { pool: { processes: number[] } };
    expect(shown.processes).toContain(answer.pid);
  });

  test('keeps a limit that was changed in executors that start later', { timeout: 60_000 }, async () => {
    await start({ [pool]: 1, concurrency: 1 });
    expect(await one('time_limit', { task_name: 'pools.hold', hard: 0.4, soft: null })).toEqual({
      ok: 'time limits set successfully',
    });
    await one('pool_grow', { n: 1 });
    await until(async () => (await worker?.report())?.executors === 2, 'two executors', 20_000);
    expect(await one('registered', { taskinfoitems: ['time_limit'] })).toEqual(['pools.hold [time_limit=0.4]']);
    const [handle] = await send(1, 'never');
    await expect(handle?.result({ timeout: '20s' })).rejects.toThrow(/TimeLimitExceeded/);
  });

  test('stops when it is told to', { timeout: 60_000 }, async () => {
    await start({ [pool]: 1, concurrency: 1 });
    await broker.broadcast(encodeControlRequest({ method: 'shutdown' }));
    expect(await worker?.done).toEqual({ exitCode: 0 });
  });
});

test("pool 'async' grows by slots, runs the app's commands and stops when it is told to", { timeout: 60_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-pools-'));
  const url = `file:${join(folder, 'queue.db')}`;
  process.env.LOVAGE_TEST_BROKER = url;
  const fixture = (await import(/* @vite-ignore */ `${MODULE}?${folder}`)) as Fixture;
  const broker = await openBroker({ url, logger: silentLogger, role: 'engine' });
  const worker = await fixture.app.worker({ name: 'a@suite', pool: 'async', concurrency: 1, logger: silentLogger });
  try {
    const gate = join(folder, 'gate');
    const handles = await fixture.hold.sendMany(Array.from({ length: 3 }, () => ({ args: [gate] as [string] })));
    expect(await askOne(broker, 'pool_grow', { n: 2 })).toEqual({ ok: 'pool will grow' });
    await until(async () => ((await askOne(broker, 'active')) as unknown[]).length === 3, 'three run');
    expect(await askOne(broker, 'pools_where')).toMatchObject({ pid: process.pid, nodeName: 'a@suite' });
    writeFileSync(gate, '');
    await Promise.all(handles.map((handle) => handle.result({ timeout: '30s' })));
    await broker.broadcast(encodeControlRequest({ method: 'shutdown' }));
    expect(await worker.done).toEqual({ exitCode: 0 });
  } finally {
    await worker.close();
    await fixture.app.close();
    await broker.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
