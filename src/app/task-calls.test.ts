import { describe, expect, test } from 'vitest';
import * as z from 'zod';
import { codeOf, type PublishError } from '../core/errors.js';
import { createFakeClock } from '../testing/fake-clock.js';
import { argumentsOf, refusal, scriptedApp } from '../testing/scripted-gateway.js';
import type { AppOptions } from './config.js';
import { SendManyError } from './send-many-error.js';

const START = Date.UTC(2026, 10, 21, 12);

function setUp(options: AppOptions = {}) {
  const clock = createFakeClock(START);
  return { ...scriptedApp(options, clock), clock };
}

describe('with', () => {
  test('countdown and eta keep the message from workers until then, by the clock of the app', async () => {
    const { app, gateway, clock } = setUp();
    const task = app.fn('t', () => 1);
    const later = task.with({ countdown: '5m' });
    await later.send();
    clock.advance(1_000);
    await later.send();
    const eta = new Date(START + 60_000);
    await task.with({ eta }).send();
    await task.with({ eta: new Date(START - 60_000) }).send();
    expect(gateway.sent.map(({ notBeforeMs }) => notBeforeMs)).toEqual([
      START + 300_000,
      START + 301_000,
      START + 60_000,
      undefined,
    ]);
    expect(gateway.sent[0]?.message.headers.eta).toBe('2026-11-21T12:05:00+00:00');
    expect(gateway.sent[3]?.message.headers.eta).toBe('2026-11-21T11:59:00+00:00');
  });

  test('calls of a remote task wait where workers of any make find them, those of own tasks in the delay store', async () => {
    const { app, gateway } = setUp();
    const tasks = [
      app.fn('own', () => 1),
      app.fn('shared', () => 1, { delays: 'queue' }),
      app.remote<[], number>('remote'),
      app.remote<[], number>('ours-elsewhere', { delays: 'broker' }),
    ];
    for (const task of tasks) await task.with({ countdown: '5m' }).send();
    await app.remote<[], number>('remote').send();
    expect(gateway.sent.map(({ notBeforeMs, anyWorker }) => [notBeforeMs, anyWorker])).toEqual([
      [START + 300_000, undefined],
      [START + 300_000, true],
      [START + 300_000, true],
      [START + 300_000, undefined],
      [undefined, undefined],
    ]);
    expect(() => app.remote<[], number>('odd', { delays: 'store' as never })).toThrow(
      /delays is "store": use 'broker' or 'queue'/,
    );
  });

  test('expires is a duration from now or an instant', async () => {
    const { app, gateway } = setUp();
    const task = app.fn('t', () => 1);
    await task.with({ expires: '1h' }).send();
    await task.with({ expires: new Date(START + 5_000) }).send();
    expect(gateway.sent.map(({ message }) => [message.headers.expires, message.properties.expiration])).toEqual([
      ['2026-11-21T13:00:00+00:00', '3600000'],
      ['2026-11-21T12:00:05+00:00', '5000'],
    ]);
  });

  test('queue and priority: the call, then the task, then the route, then the default', async () => {
    const { app, gateway } = setUp({ routes: { 'r.*': { queue: 'routed', priority: 3 } } });
    const plain = app.fn('plain', () => 1);
    const routed = app.fn('r.one', () => 1);
    const own = app.fn('r.two', () => 1, { queue: 'own', priority: 5 });
    await plain.send();
    await routed.send();
    await own.send();
    await own.with({ queue: 'call', priority: 0 }).send();
    expect(gateway.sent.map(({ to, priority }) => [to.queue, priority])).toEqual([
      ['lovage', undefined],
      ['routed', 3],
      ['own', 5],
      ['call', 0],
    ]);
  });

  test('an id of the caller is used and marked, so that a worker looks for its result first', async () => {
    const { app, gateway } = setUp();
    const task = app.fn('t', () => 1);
    expect((await task.with({ id: 'order-5' }).send()).id).toBe('order-5');
    expect(gateway.sent[0]?.message.headers).toMatchObject({ id: 'order-5', lovage_resent: true });
    await task.send();
    expect(gateway.sent[1]?.message.headers).not.toHaveProperty('lovage_resent');
  });

  test('headers, limits and ignoreResult travel', async () => {
    const { app, gateway } = setUp();
    const task = app.fn('t', () => 1);
    await task.with({ headers: { tenant: 'a', hops: 3 }, softTimeLimit: '5s', timeLimit: '10s', ignoreResult: true }).send();
    expect(gateway.sent[0]?.message.headers).toMatchObject({ tenant: 'a', hops: 3, timelimit: [10, 5], ignore_result: true });
  });

  test.each<[object, string, string]>([
    [{ countdonw: '5m' }, 'E_CONFIG_UNKNOWN_KEY', 'did you mean "countdown"?'],
    [{ countdown: '5m', eta: new Date() }, 'E_CONFIG_CONFLICT', 'not both'],
    [{ countdown: 5 }, 'E_CONFIG_RANGE', 'duration'],
    [{ eta: '2026-01-01' }, 'E_CONFIG_TYPE', 'Date'],
    [{ eta: new Date(Number.NaN) }, 'E_CONFIG_TYPE', 'this one is not'],
    [{ expires: 60 }, 'E_CONFIG_RANGE', 'expires'],
    [{ expires: '1m', countdown: '5m' }, 'E_CONFIG_CONFLICT', 'before it may run'],
    [{ priority: 10 }, 'E_CONFIG_RANGE', 'from 0 (last) to 9 (soonest)'],
    [{ priority: 4.5 }, 'E_CONFIG_RANGE', 'whole number'],
    [{ priority: '5' }, 'E_CONFIG_RANGE', 'priority'],
    [{ queue: '' }, 'E_CONFIG_RANGE', 'queue'],
    [{ id: '' }, 'E_CONFIG_RANGE', 'id'],
    [{ headers: { eta: 'x' } }, 'E_CONFIG_CONFLICT', 'header of the protocol'],
    [{ headers: { a: {} } }, 'E_CONFIG_TYPE', 'headers.a'],
    [{ headers: { a: Number.NaN } }, 'E_CONFIG_TYPE', 'NaN'],
    [{ timeout: '0ms' }, 'E_CONFIG_RANGE', 'timeout'],
    [{ signal: {} }, 'E_CONFIG_TYPE', 'AbortSignal'],
    [{ softTimeLimit: '2s', timeLimit: '1s' }, 'E_CONFIG_CONFLICT', 'shorter'],
  ])('refuses %j with %s', async (options, code, text) => {
    const { app } = setUp();
    const task = app.fn('t', () => 1);
    const error = await refusal(() => task.with(options));
    expect(error).toMatchObject({ code });
    expect(error.message).toContain(text);
  });
});

describe('sendMany', () => {
  test('sends all rows in one publish and gives their handles in order', async () => {
    const { app, gateway } = setUp();
    const add = app.fn('add', (x: number, y: number) => x + y);
    const handles = await add.sendMany([{ args: [1, 2] }, { args: [3, 4], options: { priority: 9, countdown: '1m' } }]);
    expect(gateway.publishes).toHaveLength(1);
    expect(gateway.sent.map((sent) => sent.message.headers.id)).toEqual(handles.map(({ id }) => id));
    expect(gateway.sent[1]).toMatchObject({ priority: 9, notBeforeMs: START + 60_000 });
  });

  test('many rows go in slices of a thousand, a few at a time', async () => {
    const { app, gateway } = setUp();
    const one = app.fn('one', (x: number) => x);
    let open = 0;
    let most = 0;
    gateway.onPublish = async ({ messages }) => {
      most = Math.max(most, ++open);
      await new Promise((resolve) => setImmediate(resolve));
      open -= 1;
      return messages.map(() => null);
    };
    const handles = await one.sendMany(Array.from({ length: 10_500 }, (_, x) => ({ args: [x] as [number] })));
    expect(handles).toHaveLength(10_500);
    expect(gateway.publishes.map(({ messages }) => messages.length)).toEqual([...Array.from({ length: 10 }, () => 1_000), 500]);
    expect(most).toBeLessThanOrEqual(4);
  });

  test('a row that fails does not keep the others, and the error tells which', async () => {
    const { app, gateway } = setUp();
    const echo = app.fn('echo', (value: unknown) => value);
    const error = await refusal(() =>
      echo.sendMany([{ args: ['a'] }, { args: [() => 1] }, { args: ['c'], options: { priority: 99 } }, { args: ['d'] }]),
    );
    expect(error).toBeInstanceOf(SendManyError);
    expect(error.code).toBe('E_PUBLISH_FAILED');
    expect(error.message).toContain('2 of 4 rows of echo');
    expect(
      (error as SendManyError).results.map((result) => (result.status === 'sent' ? result.handle.id : codeOf(result.error))),
    ).toEqual([gateway.sent[0]?.message.headers.id, 'E_NOT_SERIALISABLE', 'E_CONFIG_RANGE', gateway.sent[1]?.message.headers.id]);
  });

  test('no rows are no publish', async () => {
    const { app, gateway } = setUp();
    expect(await app.fn('t', () => 1).sendMany([])).toEqual([]);
    expect(gateway.publishes).toEqual([]);
  });

  test('one id for many rows is refused, and a row must be a row', async () => {
    const { app } = setUp();
    const task = app.fn('t', (x: number) => x);
    expect(await refusal(() => task.with({ id: 'x' }).sendMany([{ args: [1] }]))).toMatchObject({ code: 'E_CONFIG_CONFLICT' });
    expect(await refusal(() => task.sendMany([5 as never]))).toBeInstanceOf(SendManyError);
  });

  test('rows of object tasks are checked by the schema, also by one that answers later', async () => {
    const { app, gateway } = setUp();
    const later = app.task({ name: 'later', input: z.object({ n: z.number().refine(async (n) => n < 10) }), run: () => null });
    const error = (await refusal(() => later.sendMany([{ args: [{ n: 1 }] }, { args: [{ n: 11 }] }]))) as SendManyError;
    expect(error.results.map(({ status }) => status)).toEqual(['sent', 'failed']);
    expect(argumentsOf(gateway.sent[0])).toEqual({ args: [], kwargs: { n: 1 } });
  });
});

test('a send that fails carries the id and the outcome', async () => {
  const { app, gateway } = setUp();
  gateway.onPublish = () => Promise.reject(new Error('no route to host'));
  const error = (await refusal(() =>
    app
      .fn('t', () => 1)
      .with({ id: 'x-1' })
      .send(),
  )) as PublishError;
  expect(error).toMatchObject({
    name: 'PublishError',
    code: 'E_PUBLISH_FAILED',
    outcome: 'not-sent',
    taskId: 'x-1',
    message: 't was not sent: no route to host',
  });
});
