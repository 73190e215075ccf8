import { afterEach, describe, expect, test } from 'vitest';
import * as z from 'zod';
import type { App } from '../app/app.js';
import { openMemorySpaces } from '../brokers/memory/index.js';
import { silentLogger } from '../core/logger.js';
import { createApp, NonRetryableError, taskContext } from '../index.js';
import { openMemoryResultSpaces } from '../results/memory/index.js';
import { type MemoryApp, type MemoryAppOptions, memoryApp } from './memory-app.js';

const opened: MemoryApp[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((memory) => memory.close()));
  expect([openMemorySpaces(), openMemoryResultSpaces()]).toEqual([0, 0]);
});

async function start(app: App, options?: MemoryAppOptions): Promise<MemoryApp> {
  const memory = await memoryApp(app, options);
  opened.push(memory);
  return memory;
}

const newApp = (): App =>
  createApp({ broker: 'redis://nowhere.invalid', logger: silentLogger, routes: { 'slow.*': { queue: 'slow' } } });

describe('drain', () => {
  test('runs what was sent, and what that sends, until nothing is left', async () => {
    const ran: number[] = [];
    const app = newApp();
    const countDown = app.fn('count-down', async (n: number): Promise<void> => {
      ran.push(n);
      if (n > 0) await countDown.send(n - 1);
    });
    const memory = await start(app);
    await countDown.send(3);
    expect(ran).toEqual([]);
    expect(await memory.drain()).toMatchObject({ succeeded: 4, failed: 0 });
    expect(ran).toEqual([3, 2, 1, 0]);
    expect(await memory.drain()).toMatchObject({ succeeded: 0 });
  });

  test('results can be read afterwards, failures too', async () => {
    const app = newApp();
    const half = app.fn('half', (n: number) => {
      if (n % 2 === 1) throw new NonRetryableError(`${n} is odd`);
      return n / 2;
    });
    const memory = await start(app);
    const [good, bad] = [await half.send(4), await half.send(3)];
    expect(await memory.drain()).toMatchObject({ succeeded: 1, failed: 1 });
    expect(await good.result({ timeout: '1s' })).toBe(2);
    await expect(bad.result({ timeout: '1s' })).rejects.toThrow('3 is odd');
  });

  test('waits for tasks that wait for real input and output', async () => {
    const app = newApp();
    const slow = app.fn('slow', () => new Promise<string>((resolve) => setTimeout(() => resolve('done'), 80)));
    const memory = await start(app);
    const handle = await slow.send();
    await memory.drain();
    expect(await handle.state()).toBe('SUCCESS');
  });

  test('gives up on a task that does not end, and names its queue', async () => {
    const app = newApp();
    let release: (() => void) | undefined;
    const stuck = app.fn('slow.stuck', () => new Promise<void>((resolve) => (release = resolve)));
    const memory = await start(app, { drainTimeout: '50ms' });
    await stuck.send();
    await expect(memory.drain()).rejects.toThrow('queue slow (0 waiting, 1 running)');
    release?.();
    await memory.drain();
  });

  test('takes the queues of the app, its tasks and its routes, and leaves others alone', async () => {
    const ran: string[] = [];
    const app = newApp();
    const here = (name: string) => () => void ran.push(`${name} from ${taskContext().queue}`);
    const plain = app.fn('plain', here('plain'));
    const own = app.fn('own', here('own'), { queue: 'own-queue' });
    const routed = app.fn('slow.routed', here('routed'));
    const memory = await start(app, { queues: ['extra'] });
    await Promise.all([
      plain.send(),
      own.send(),
      routed.send(),
      plain.with({ queue: 'extra' }).send(),
      plain.with({ queue: 'elsewhere' }).send(),
    ]);
    await memory.drain();
    expect(ran.sort()).toEqual(['own from own-queue', 'plain from extra', 'plain from lovage', 'routed from slow']);
  });
});

describe('advance', () => {
  test('a countdown runs at its time and not before', async () => {
    const times: string[] = [];
    const app = newApp();
    const tick = app.fn('tick', () => void times.push(memory.now().toISOString()));
    const memory = await start(app, { start: new Date('2026-03-01T12:00:00Z') });
    await tick.with({ countdown: '5m' }).send();
    await tick.with({ eta: new Date('2026-03-01T13:00:00Z') }).send();
    expect(await memory.drain()).toMatchObject({ succeeded: 0 });
    expect(await memory.advance('299s')).toMatchObject({ succeeded: 0 });
    await memory.advance('2h');
    expect(times).toEqual(['2026-03-01T12:05:00.000Z', '2026-03-01T13:00:00.000Z']);
    expect(memory.now()).toEqual(new Date('2026-03-01T14:04:59Z'));
  });

  test('retries happen after their waits, and end', async () => {
    const tries: [number, number][] = [];
    const app = newApp();
    const flaky = app.fn(
      'flaky',
      () => {
        tries.push([taskContext().attempt, memory.now().getTime() - begin]);
        throw new Error('no');
      },
      { retry: { max: 2, base: '10s', jitter: 'none' } },
    );
    const memory = await start(app);
    const begin = memory.now().getTime();
    const handle = await flaky.send();
    expect(await memory.drain()).toMatchObject({ retried: 1 });
    expect(await handle.state()).toBe('RETRY');
    expect(await memory.advance('1h')).toMatchObject({ retried: 1, failed: 1 });
    expect(tries).toEqual([
      [1, 0],
      [2, 10_000],
      [3, 30_000],
    ]);
    await expect(handle.result({ timeout: '1s' })).rejects.toMatchObject({ code: 'E_TASK_FAILED' });
  });

  test('what has expired does not run', async () => {
    const app = newApp();
    const late = app.fn('late', () => 1);
    const memory = await start(app);
    const handle = await late.with({ eta: new Date(memory.now().getTime() + 60_000), expires: '30s' }).send();
    expect(await memory.advance('2m')).toMatchObject({ expired: 1, succeeded: 0 });
    expect(await handle.state()).toBe('REVOKED');
  });

  test('what was revoked does not run, whether it waited for its time or in its queue', async () => {
    const app = newApp();
    const ran: string[] = [];
    const note = app.fn('note', (key: string) => void ran.push(key));
    const memory = await start(app);
    const [waits, lies] = [await note.with({ countdown: '1h' }).send('waits'), await note.send('lies')];
    expect([await waits.revoke(), await lies.revoke()]).toEqual(['removed', 'recorded']);
    await note.send('other');
    expect(await memory.advance('2h')).toMatchObject({ succeeded: 1 });
    expect(ran).toEqual(['other']);
    expect([await waits.state(), await lies.state()]).toEqual(['REVOKED', 'REVOKED']);
  });

  test('a month is quick', { timeout: 10_000 }, async () => {
    const app = newApp();
    const monthly = app.fn('monthly', () => 1);
    const memory = await start(app);
    await monthly.with({ countdown: '30d' }).send();
    expect(await memory.advance('29d')).toMatchObject({ succeeded: 0 });
    expect(await memory.advance('1d')).toMatchObject({ succeeded: 1 });
  });
});

describe('expectSent', () => {
  test('finds a send by its arguments, and tells about it', async () => {
    const app = newApp();
    const add = app.fn('add', (x: number, y?: number) => x + (y ?? 0));
    const sync = app.task({ name: 'sync', input: z.object({ id: z.string(), note: z.string().optional() }), run: () => 1 });
    const ping = app.task({ name: 'ping', input: z.object({}), run: () => 1 });
    const memory = await start(app);
    await add.send(1);
    await add.with({ priority: 7, countdown: '1m', headers: { tenant: 'a' } }).send(1, 2);
    const { id } = await sync.with({ id: 'mine' }).send({ id: 'a', note: undefined });
    await ping.send({});
    expect(memory.expectSent(add, 1, 2)).toMatchObject({
      priority: 7,
      headers: { tenant: 'a' },
      eta: new Date(memory.now().getTime() + 60_000),
      queue: 'lovage',
    });
    expect(memory.expectSent(add, 1)).toMatchObject({ priority: null, eta: null });
    expect(memory.expectSent(sync, { id: 'a' })).toMatchObject({ id, headers: {} });
    memory.expectSent(sync);
    memory.expectSent(ping, {});
    expect(memory.sent.map(({ task }) => task)).toEqual(['add', 'add', 'sync', 'ping']);
  });

  test('lists what was sent when it finds nothing', async () => {
    const app = newApp();
    const add = app.fn('add', (x: number, y: number) => x + y);
    const other = app.remote<[], null>('other');
    const memory = await start(app);
    expect(() => memory.expectSent(add)).toThrow('expected add to have been sent; nothing was sent');
    await add.send(1, 2);
    expect(() => memory.expectSent(add, 2, 1)).toThrow('expected add to have been sent with [2,1]; 1 sent:\n  add(1, 2)');
    expect(() => memory.expectNotSent(add)).toThrow('expected add not to have been sent; 1 sent:\n  add(1, 2)');
    memory.expectNotSent(other);
    memory.clearSent();
    memory.expectNotSent(add);
  });

  test('a child knows its parent', async () => {
    const app = newApp();
    const child = app.fn('child', () => 1);
    const parent = app.fn('parent', async () => void (await child.send()));
    const memory = await start(app);
    const handle = await parent.send();
    await memory.drain();
    expect(memory.expectSent(child).parentId).toBe(handle.id);
  });
});

test('a task that nobody knows is parked after its patience, and dead() shows it', async () => {
  const app = newApp();
  const memory = await start(app);
  await app.remote<[], null>('unknown').send();
  await memory.drain();
  expect(memory.dead()).toEqual([]);
  expect(await memory.advance('11m')).toMatchObject({ parked: 1 });
  expect(memory.dead()).toMatchObject([{ queue: 'lovage', code: 'E_NOT_REGISTERED' }]);
});

test('an onStart hook that throws is told, and nothing is left open', async () => {
  const app = newApp();
  app.onStart(() => Promise.reject(new Error('no database')));
  await expect(memoryApp(app)).rejects.toThrow('no database');
});

test('hooks run, and close() can be called twice', async () => {
  const order: string[] = [];
  const app = newApp();
  app.onStart(() => order.push('start'));
  app.onStop(() => order.push('stop'));
  const memory = await start(app);
  await memory.close();
  await memory.close();
  expect(order).toEqual(['start', 'stop']);
});
