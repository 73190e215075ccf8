import { expect, test } from 'vitest';
import { codeOf } from '../core/errors.js';
import { argumentsOf, scriptedApp } from '../testing/scripted-gateway.js';
import type { Middleware, PublishMiddleware } from './middleware.js';

function setUp(...middleware: Middleware[]) {
  const { app, gateway } = scriptedApp({ middleware });
  return { app, gateway, task: app.fn('t', (x: number) => x, { priority: 3 }) };
}

const code = (promise: Promise<unknown>): Promise<string | undefined> =>
  promise.then(
    () => 'it succeeded',
    (error: unknown) => codeOf(error) ?? (error as Error).message,
  );

test('publish hooks run from the outside in, and come back after the confirmation', async () => {
  const order: string[] = [];
  const layer = (name: string): Middleware => ({
    name,
    publish: async (request, next) => {
      order.push(`${name} in`);
      await next(request);
      order.push(`${name} out`);
    },
  });
  const { gateway, task } = setUp(layer('outer'), { name: 'observes runs only', execute: (_, next) => next() }, layer('inner'));
  gateway.onPublish = ({ messages }) => {
    order.push('publish');
    return messages.map(() => null);
  };
  await task.send(1);
  expect(order).toEqual(['outer in', 'inner in', 'publish', 'inner out', 'outer out']);
});

test('a publish hook may change arguments, queue, priority, headers and id', async () => {
  const { gateway, task } = setUp({
    name: 'change',
    publish: (request, next) =>
      next({ ...request, id: 'mine', args: [2], queue: 'other', priority: 9, headers: { ...request.headers, tenant: 'a' } }),
  });
  const handle = await task.with({ headers: { own: 1 } }).send(1);
  expect(handle.id).toBe('mine');
  expect(gateway.sent[0]).toMatchObject({ to: { queue: 'other' }, priority: 9 });
  expect(gateway.sent[0]?.message.headers).toMatchObject({ id: 'mine', tenant: 'a', own: 1 });
  expect(argumentsOf(gateway.sent[0]).args).toEqual([2]);
});

test('a hook sees its own headers only, and an id of the caller stays marked', async () => {
  const seen: unknown[] = [];
  const { gateway, task } = setUp({
    name: 'look',
    publish: (request, next) => {
      seen.push(request.headers, request.priority, request.queue);
      return next(request);
    },
  });
  await task.with({ id: 'a' }).send(1);
  expect(seen).toEqual([{}, 3, 'lovage']);
  expect(gateway.sent[0]?.message.headers.lovage_resent).toBe(true);
});

test.each<[string, PublishMiddleware, string]>([
  ['that throws refuses the send', () => Promise.reject(new Error('not today')), 'not today'],
  ['that forgets next() is an error, because a task would be lost', async () => {}, 'E_PUBLISH_FAILED'],
  [
    'that calls next() twice is an error',
    async (request, next) => {
      await next(request);
      await next(request);
    },
    'E_PUBLISH_FAILED',
  ],
  ['that sets a wrong queue is an error', (request, next) => next({ ...request, queue: '' }), 'E_CONFIG_RANGE'],
  ['that sets a wrong priority is an error', (request, next) => next({ ...request, priority: 11 }), 'E_CONFIG_RANGE'],
  [
    'that sets a header of the protocol is an error',
    (request, next) => next({ ...request, headers: { eta: 'now' } }),
    'E_CONFIG_CONFLICT',
  ],
])('a hook %s', async (_, publish, expected) => {
  const { task } = setUp({ name: 'hook', publish });
  expect(await code(task.send(1))).toBe(expected);
});

test('rows of sendMany pass through the hooks one by one and still share a publish', async () => {
  const seen: unknown[] = [];
  const { gateway, task } = setUp({
    name: 'some',
    publish: (request, next) => {
      seen.push(request.args[0]);
      return request.args[0] === 2 ? Promise.reject(new Error('no twos')) : next(request);
    },
  });
  await expect(task.sendMany([{ args: [1] }, { args: [2] }, { args: [3] }])).rejects.toMatchObject({
    results: [{ status: 'sent' }, { status: 'failed', error: { message: 'no twos' } }, { status: 'sent' }],
  });
  expect(seen).toEqual([1, 2, 3]);
  expect(gateway.publishes).toHaveLength(1);
});
