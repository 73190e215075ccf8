/** Publish hooks on a worker: they see what takes the place of a task, and what a task adds to its chord, as they see its sends. */
import { chain, chord, createApp, group, taskContext, type Worker } from 'lovage';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SOON, silent } from './chain-cases.js';

let use: ReturnType<typeof application>;
let worker: Worker;
let opened = 0;
beforeEach(async () => {
  use = application(`memory:hooks-in-tasks-${++opened}`);
  worker = await use.app.worker({ pool: 'inline', concurrency: 5, logger: silent });
});
afterEach(async () => {
  await worker.close();
  await use.app.close();
});

function application(url: string) {
  /** Names of tasks that passed, and whether inside a task. */
  const seen: string[] = [];
  const refused = new Set<string>();
  const app = createApp({
    ...{ broker: url, results: url, logger: silent },
    middleware: [
      {
        name: 'watch',
        publish: async (request, next) => {
          seen.push(request.task);
          if (refused.has(request.task)) throw new Error(`no ${request.task} today`);
          await next({ ...request, headers: { ...request.headers, tenant: 'acme' } });
        },
      },
    ],
  });
  const add = app.fn('add', (x: number, y: number) => x + y);
  const tenant = app.fn('tenant', (): string => String(taskContext().headers.tenant));
  const join = app.fn('join', (parts: unknown[]): string => JSON.stringify(parts));
  const swap = app.fn('swap', (): string => {
    throw taskContext().replace(chain(add.si(1, 1), tenant.si()));
  });
  const spread = app.fn('spread', (): unknown => {
    throw taskContext().replace(group(tenant.si(), add.si(1, 1)));
  });
  const grow = app.fn('grow', async (): Promise<string> => {
    await taskContext().addToChord(tenant.si());
    return 'grown';
  });
  return { app, seen, refused, add, tenant, join, swap, spread, grow };
}

test('what takes the place of a task passes them once, and keeps what they change and its place', async () => {
  const { swap, join, add, seen } = use;
  expect(await (await swap.send()).result(SOON)).toBe('acme');
  expect(seen.splice(0)).toEqual(['swap', 'add', 'tenant']);
  const whole = await chord(group(swap.si(), add.si(2, 2)), join.s()).send();
  expect(await whole.result(SOON)).toBe('["acme",4]');
  expect([...seen].sort()).toEqual(['add', 'add', 'join', 'swap', 'tenant']);
});

test('a group that takes the place of a task gives the list of its results', async () => {
  const { spread, seen } = use;
  expect(await (await spread.send()).result(SOON)).toEqual(['acme', 2]);
  expect(seen).toContain('tenant');
});

test('a refusal fails the task that was to be replaced, and nothing of it is sent', async () => {
  const { swap, refused, add } = use;
  refused.add('tenant');
  await expect((await swap.send()).result(SOON)).rejects.toThrow('no tenant today');
  expect(await (await add.send(1, 1)).result(SOON)).toBe(2);
});

test('a part that is added to a chord passes them', async () => {
  const { grow, add, join, seen } = use;
  const whole = await chord(group(grow.si(), add.si(1, 1)), join.s()).send();
  expect(await whole.result(SOON)).toBe('["grown",2,"acme"]');
  expect([...seen].sort()).toEqual(['add', 'grow', 'join', 'tenant']);
});

test('an added part that is refused fails who adds it, and the chord with it', async () => {
  const { grow, add, join, refused } = use;
  refused.add('tenant');
  const whole = await chord(group(grow.si(), add.si(1, 1)), join.s()).send();
  await expect(whole.result(SOON)).rejects.toMatchObject({
    type: 'ChordError',
    message: expect.stringContaining('no tenant today'),
  });
});
