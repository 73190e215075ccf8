import { afterEach, describe, expect, test } from 'vitest';
import * as z from 'zod';
import { openMemorySpaces } from '../brokers/memory/index.js';
import { silentLogger } from '../core/logger.js';
import { createApp } from '../index.js';
import type { App } from './app.js';
import type { AppOptions } from './config.js';
import { taskContext } from './task-context.js';

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

let spaces = 0;
function open(options: AppOptions = {}): App {
  const app = createApp({ broker: `memory:app-test-${++spaces}`, logger: silentLogger, ...options });
  closers.push(() => app.close());
  return app;
}

async function work(app: App): Promise<void> {
  const worker = await app.worker({ pool: 'inline', logger: silentLogger });
  closers.push(() => worker.close());
}

describe('with a worker on the memory broker', () => {
  test('a task is sent, run and answered', async () => {
    const app = open();
    const add = app.fn('math.add', (x: number, y: number) => x + y);
    await work(app);
    expect(await (await add.send(2, 3)).result({ timeout: '5s' })).toBe(5);
    const handles = await add.sendMany([{ args: [1, 2] }, { args: [3, 4] }]);
    expect(await Promise.all(handles.map((handle) => handle.result({ timeout: '5s' })))).toEqual([3, 7]);
  });

  test('an object task is parsed on the worker, and its date arrives as a date', async () => {
    const app = open();
    const sync = app.task({
      name: 'sync',
      input: z.object({ id: z.string(), days: z.coerce.number().default(2) }),
      run: ({ id, days }) => ({ id, days, at: new Date(0) }),
    });
    await work(app);
    expect(await (await sync.send({ id: 'a' })).result({ timeout: '5s' })).toEqual({ id: 'a', days: 2, at: new Date(0) });
  });

  test('a task that sends another is its parent, and lists it', async () => {
    const app = open();
    const leaf = app.fn('leaf', () => ({ parent: taskContext().parentId, root: taskContext().rootId }));
    const middle = app.fn('middle', async () => (await leaf.send()).id);
    const root = app.fn('root', async () => (await middle.send()).id);
    await work(app);
    const handle = await root.send();
    const middleId = await handle.result({ timeout: '5s' });
    const leafId = await app.handle<string>(middleId).result({ timeout: '5s' });
    expect(await app.handle(leafId).result({ timeout: '5s' })).toEqual({ parent: middleId, root: handle.id });
    expect((await handle.status()).children).toEqual([middleId]);
  });

  test('execute middleware wraps every run, the first outermost', async () => {
    const order: string[] = [];
    const layer = (name: string) => ({
      name,
      execute: async (context: { name: string }, next: () => Promise<unknown>) => {
        order.push(`${name} ${context.name}`);
        return `${name}(${String(await next())})`;
      },
    });
    const app = open({ middleware: [layer('a'), layer('b')] });
    const task = app.fn('t', () => 'result');
    await work(app);
    expect(await (await task.send()).result({ timeout: '5s' })).toBe('a(b(result))');
    expect(order).toEqual(['a t', 'b t']);
  });

  test('onStart is awaited before the first task and onStop after the last, in reverse order', async () => {
    const order: string[] = [];
    const app = open();
    app.onStart(async (scope) => {
      await null;
      order.push(`start 1 ${typeof scope.logger.info}`);
    });
    app.onStart(() => order.push('start 2'));
    app.onStop(() => order.push('stop 1'));
    app.onStop(() => order.push('stop 2'));
    const task = app.fn('t', () => order.push('task'));
    const handle = await task.send();
    const worker = await app.worker({ pool: 'inline', logger: silentLogger });
    await handle.result({ timeout: '5s' });
    await worker.close();
    expect(order).toEqual(['start 1 function', 'start 2', 'task', 'stop 2', 'stop 1']);
  });

  test('task hooks hear of success, retry and failure', async () => {
    const heard: unknown[] = [];
    const app = open();
    const hooks = {
      onSuccess: (result: number) => heard.push(['success', result]),
      onRetry: (error: unknown) => heard.push(['retry', (error as Error).message]),
      onFailure: (error: unknown) => heard.push(['failure', (error as Error).message]),
    };
    const task = app.fn(
      'flaky',
      (failures: number) => {
        if (taskContext().attempt <= failures) throw new Error(`try ${taskContext().attempt}`);
        return taskContext().attempt;
      },
      { ...hooks, retry: { max: 1, base: '1ms', jitter: 'none' } },
    );
    await work(app);
    expect(await (await task.send(0)).result({ timeout: '5s' })).toBe(1);
    expect(await (await task.send(1)).result({ timeout: '5s' })).toBe(2);
    await expect((await task.send(9)).result({ timeout: '5s' })).rejects.toMatchObject({
      code: 'E_TASK_FAILED',
      message: 'Error: try 2',
    });
    expect(heard).toEqual([
      ['success', 1],
      ['retry', 'try 1'],
      ['success', 2],
      ['retry', 'try 1'],
      ['failure', 'try 2'],
    ]);
  });

  test('waiting for another task inside a task fails that task at once', async () => {
    const app = open();
    const inner = app.fn('inner', () => 1);
    const outer = app.fn('outer', async () => (await inner.send()).result({ timeout: '1h' }));
    await work(app);
    await expect((await outer.send()).result({ timeout: '5s' })).rejects.toThrow('a task that waits for another holds a slot');
  });
});

describe('life of an app', () => {
  test('nothing is opened before the first send, and close() gives it all back', async () => {
    const before = openMemorySpaces();
    const app = open();
    const task = app.fn('t', () => 1);
    expect(openMemorySpaces()).toBe(before);
    await task.send();
    expect(openMemorySpaces()).toBe(before + 1);
    await app.close();
    expect(openMemorySpaces()).toBe(before);
  });

  test('after close() every use is E_CLOSED, and closing again is nothing', async () => {
    const app = open();
    const task = app.fn('t', () => 1);
    const handle = await task.send();
    await app.close();
    await app.close();
    await expect(task.send()).rejects.toMatchObject({ code: 'E_CLOSED', outcome: 'not-sent' });
    await expect(task.sendMany([{ args: [] }])).rejects.toMatchObject({ cause: { code: 'E_CLOSED' } });
    await expect(handle.status()).rejects.toMatchObject({ code: 'E_CLOSED' });
    await expect(handle.result({ timeout: '1s' })).rejects.toMatchObject({ code: 'E_CLOSED' });
  });

  test('a URL that no driver knows fails the send with its code, and names the schemes', async () => {
    const app = open({ broker: 'kafka://somewhere' });
    const error = await app
      .fn('t', () => 1)
      .send()
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      name: 'PublishError',
      code: 'E_CONFIG_URL',
      outcome: 'not-sent',
      message: expect.stringContaining('redis://'),
    });
  });

  test('stop hooks all run, and the first error is told', async () => {
    const ran: string[] = [];
    const app = open();
    app.onStop(() => ran.push('first'));
    app.onStop(() => {
      throw new Error('second');
    });
    app.onStop(() => {
      throw new Error('third');
    });
    await expect(app.runStopHooks()).rejects.toThrow('third');
    expect(ran).toEqual(['first']);
  });

  test('an app is found by its brand', () => {
    expect(Symbol.for('lovage.app') in open()).toBe(true);
  });
});
