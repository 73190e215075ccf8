import { afterEach, describe, expect, test } from 'vitest';
import * as v from 'valibot';
import * as z from 'zod';
import { ArgumentError, codeOf, type PublishError } from '../core/errors.js';
import { silentLogger } from '../core/logger.js';
import { createFakeClock } from '../testing/fake-clock.js';
import { argumentsOf, ScriptedGateway } from '../testing/scripted-gateway.js';
import { App } from './app.js';
import type { AppOptions } from './config.js';
import { SendManyError } from './send-many-error.js';
import { taskContext } from './task-context.js';

const START = Date.UTC(2026, 10, 21, 12);
const opened: App[] = [];
afterEach(() => Promise.all(opened.splice(0).map((app) => app.close())));

function setUp(options: AppOptions = {}) {
  const app = new App({ broker: 'memory:unused', logger: silentLogger, ...options }, { startWorker: () => Promise.reject(new Error('no worker here')) });
  opened.push(app);
  const gateway = new ScriptedGateway();
  const clock = createFakeClock(START);
  app.attachGateway(gateway, clock);
  return { app, gateway, clock };
}

const refusal = async (work: () => unknown): Promise<Error & { code?: string }> => {
  try {
    await work();
  } catch (error) {
    return error as Error;
  }
  throw new Error('it was accepted');
};

describe('app.fn', () => {
  test('send puts the arguments by position into a message for the default queue', async () => {
    const { app, gateway } = setUp();
    const add = app.fn('math.add', (x: number, y: number) => x + y);
    const handle = await add.send(1, 2);
    const [outgoing] = gateway.sent;
    expect(outgoing?.to).toEqual({ queue: 'lovage' });
    expect(argumentsOf(outgoing)).toEqual({ args: [1, 2], kwargs: {} });
    expect(outgoing?.message.headers).toMatchObject({ task: 'math.add', id: handle.id, root_id: handle.id, parent_id: null, ignore_result: false, lang: 'js' });
    expect(outgoing).not.toHaveProperty('priority');
    expect(outgoing).not.toHaveProperty('notBeforeMs');
  });

  test('arguments that were left out at the end are not sent as null, so defaults count', async () => {
    const { app, gateway } = setUp();
    const greet = app.fn('greet', (name: string, greeting?: string) => `${greeting ?? 'hello'} ${name}`);
    await greet.send('ann', undefined);
    expect(argumentsOf(gateway.sent[0]).args).toEqual(['ann']);
  });

  test('with params send refuses too few arguments and names the parameter', async () => {
    const { app, gateway } = setUp();
    const add = app.fn('math.add', (x: number, y: number) => x + y, { params: ['x', 'y'] });
    const error = await refusal(() => (add.send as (x: number) => Promise<unknown>)(1));
    expect(error).toMatchObject({ code: 'E_ARGUMENTS', message: 'math.add(x, y) needs "y", and did not get it' });
    expect(gateway.publishes).toEqual([]);
  });

  test('what cannot travel is refused with its path and nothing is sent', async () => {
    const { app, gateway } = setUp();
    const save = app.fn('save', (_row: { id: number }) => null);
    const row = { id: 1, save() {} };
    const error = await refusal(() => save.send(row));
    expect(error).toBeInstanceOf(ArgumentError);
    expect(error).toMatchObject({ code: 'E_NOT_SERIALISABLE', message: 'args[0].save is a function: pass the id and load the row inside the task' });
    expect(gateway.publishes).toEqual([]);
  });

  test('a message over maxMessageSize is refused', async () => {
    const { app, gateway } = setUp({ maxMessageSize: 1_000 });
    const echo = app.fn('echo', (text: string) => text);
    expect(await refusal(() => echo.send('x'.repeat(1_000)))).toMatchObject({ code: 'E_MESSAGE_TOO_LARGE' });
    await echo.send('x'.repeat(900));
    expect(gateway.sent).toHaveLength(1);
  });

  test('what the arguments are after send() does not matter any more', async () => {
    const { app, gateway } = setUp();
    const echo = app.fn('echo', (list: number[]) => list);
    const list = [1];
    const sending = echo.send(list);
    list.push(2);
    await sending;
    expect(argumentsOf(gateway.sent[0]).args).toEqual([[1]]);
  });

  test('run calls the handler in place, with a context, and needs no broker', async () => {
    const { app, gateway } = setUp();
    const who = app.fn('who', (x: number) => ({ x, name: taskContext().name, attempt: taskContext().attempt }));
    expect(await who.run(5)).toEqual({ x: 5, name: 'who', attempt: 1 });
    expect(gateway.publishes).toEqual([]);
  });

  test('run rejects with what the handler throws', async () => {
    const { app } = setUp();
    const fail = app.fn('fail', () => {
      throw new TypeError('broken');
    });
    await expect(fail.run()).rejects.toThrow(new TypeError('broken'));
  });

  test('run inside a task goes on as a part of that task', async () => {
    const { app, gateway } = setUp();
    const leaf = app.fn('leaf', () => 1);
    const inner = app.fn('inner', async (_x: number) => {
      await leaf.send();
      return { id: taskContext().id, name: taskContext().name, args: taskContext().args };
    });
    const outer = app.fn('outer', async () => ({ id: taskContext().id, inner: await inner.run(7) }));
    const result = await outer.run();
    expect(result.inner).toEqual({ id: result.id, name: 'inner', args: [7] });
    expect(gateway.sent[0]?.message.headers).toMatchObject({ parent_id: result.id, root_id: result.id });
  });

  test('a name can be taken once only', () => {
    const { app } = setUp();
    app.fn('once', () => 1);
    expect(() => app.fn('once', () => 2)).toThrow(expect.objectContaining({ code: 'E_TASK_NAME_TAKEN' }));
    expect(app.registry.all().map(({ name }) => name)).toEqual(['once']);
  });

  test.each<[unknown, string, string]>([
    [{ retries: 3 }, 'E_CONFIG_UNKNOWN_KEY', 'task t has no option "retries": did you mean "retry"?'],
    [{ queue: '' }, 'E_CONFIG_RANGE', 'queue'],
    [{ priority: 1.5 }, 'E_CONFIG_RANGE', 'priority'],
    [{ timeLimit: 5 }, 'E_CONFIG_RANGE', 'timeLimit'],
    [{ timeLimit: '0s' }, 'E_CONFIG_RANGE', 'timeLimit'],
    [{ softTimeLimit: '5s', timeLimit: '5s' }, 'E_CONFIG_CONFLICT', 'shorter'],
    [{ ack: 'never' }, 'E_CONFIG_RANGE', 'ack'],
    [{ onFailure: 'log' }, 'E_CONFIG_TYPE', 'onFailure'],
    [{ ignoreResult: 'yes' }, 'E_CONFIG_TYPE', 'ignoreResult'],
    [{ name: 'other' }, 'E_CONFIG_UNKNOWN_KEY', 'name'],
    [5, 'E_CONFIG_TYPE', 'object'],
  ])('refuses the options %j with %s', (options, code, text) => {
    const { app } = setUp();
    const define = () => app.fn('t', () => 1, options as object);
    expect(define).toThrow(expect.objectContaining({ code }));
    expect(define).toThrow(text);
    expect(app.registry.get('t')).toBeUndefined();
  });

  test('options are resolved with their defaults', () => {
    const { app } = setUp({ resultTtl: '2h' });
    app.fn('plain', () => 1);
    app.fn('full', () => 1, { retry: true, softTimeLimit: '1s', timeLimit: '2s', ack: 'early', resultTtl: false, expected: 'E', queue: 'q' });
    expect(app.registry.get('plain')?.options).toMatchObject({ queue: null, retry: null, softTimeLimitMs: null, ack: 'late', ignoreResult: false, resultTtlMs: 7_200_000 });
    const full = app.registry.get('full')?.options;
    expect(full).toMatchObject({ queue: 'q', softTimeLimitMs: 1_000, timeLimitMs: 2_000, ack: 'early', resultTtlMs: null });
    expect(full?.isExpected(Object.assign(new Error(), { code: 'E' }))).toBe(true);
    expect(full?.isExpected(new Error())).toBe(false);
  });
});

describe('app.task', () => {
  const Invoice = z.object({ id: z.string(), limit: z.coerce.number().default(10) });

  test('the input travels as keywords, as it was given; what the schema makes of it does not', async () => {
    const { app, gateway } = setUp();
    const sync = app.task({ name: 'sync', input: Invoice, run: ({ limit }) => limit });
    await sync.send({ id: 'a' });
    await sync.send({ id: 'b', limit: '5' });
    expect(gateway.sent.map(argumentsOf)).toEqual([
      { args: [], kwargs: { id: 'a' } },
      { args: [], kwargs: { id: 'b', limit: '5' } },
    ]);
  });

  test('input that does not fit is refused with the field, and nothing is sent', async () => {
    const { app, gateway } = setUp();
    const sync = app.task({ name: 'sync', input: Invoice, run: () => null });
    const error = await refusal(() => sync.send({ id: 5 as unknown as string }));
    expect(error).toMatchObject({ code: 'E_ARGUMENTS' });
    expect(error.message).toContain('task sync: the input does not fit: id: ');
    for (const wrong of [undefined, null, 5, [{ id: 'a' }]]) {
      expect(await refusal(() => sync.send(wrong as never))).toMatchObject({ code: 'E_ARGUMENTS' });
    }
    expect(gateway.publishes).toEqual([]);
  });

  test('a value that cannot travel is named by its field', async () => {
    const { app } = setUp();
    const sync = app.task({ name: 'sync', input: z.object({ user: z.unknown() }), run: () => null });
    expect((await refusal(() => sync.send({ user: { save() {} } }))).message).toBe('input.user.save is a function: pass the id and load the row inside the task');
  });

  test('schemas that answer later and schemas of other libraries work', async () => {
    const { app, gateway } = setUp();
    const later = z.object({ id: z.string().refine(async (id) => id !== 'taken') });
    const checked = app.task({ name: 'later', input: later, run: ({ id }) => id });
    const other = app.task({ name: 'other', input: v.object({ id: v.string() }), run: ({ id }) => id });
    expect(await refusal(() => checked.send({ id: 'taken' }))).toMatchObject({ code: 'E_ARGUMENTS' });
    await checked.send({ id: 'free' });
    await other.send({ id: 'x' });
    expect(gateway.sent.map((sent) => sent.message.headers.task)).toEqual(['later', 'other']);
    expect(await checked.run({ id: 'free' })).toBe('free');
  });

  test('the definition parses keywords, or one object by position, and gives defaults to run', async () => {
    const { app } = setUp();
    app.task({ name: 'sync', input: Invoice, run: ({ id, limit }) => `${id}:${limit}` });
    const execute = (args: unknown[], kwargs: Record<string, unknown>) => app.registry.get('sync')?.execute(args, kwargs, undefined as never);
    expect(execute([], { id: 'a' })).toBe('a:10');
    expect(execute([{ id: 'a', limit: 1 }], { limit: '2' })).toBe('a:2');
    expect(() => execute(['a'], {})).toThrow(expect.objectContaining({ code: 'E_ARGUMENTS' }));
    expect(() => execute([], { id: 5 })).toThrow(expect.objectContaining({ code: 'E_ARGUMENTS' }));
  });

  test('the output schema is parsed, and a result that does not fit is E_OUTPUT', async () => {
    const { app } = setUp();
    const output = z.object({ when: z.coerce.date() });
    const good = app.task({ name: 'good', input: z.object({}), output, run: async () => ({ when: '2026-01-01T00:00:00Z' }) });
    const bad = app.task({ name: 'bad', input: z.object({}), output, run: () => ({ when: 'never' }) });
    expect(await good.run({})).toEqual({ when: new Date('2026-01-01T00:00:00Z') });
    const error = await refusal(() => bad.run({}));
    expect(error).toMatchObject({ code: 'E_OUTPUT' });
    expect(error.message).toContain('when');
  });

  test.each<[unknown, string]>([
    [undefined, 'E_CONFIG_TYPE'],
    [{ input: z.object({}), run: () => 1 }, 'E_CONFIG_RANGE'],
    [{ name: 't', run: () => 1 }, 'E_CONFIG_TYPE'],
    [{ name: 't', input: {}, run: () => 1 }, 'E_CONFIG_TYPE'],
    [{ name: 't', input: z.object({}), output: 'json', run: () => 1 }, 'E_CONFIG_TYPE'],
    [{ name: 't', input: z.object({}) }, 'E_CONFIG_TYPE'],
    [{ name: 't', input: z.object({}), run: () => 1, params: [] }, 'E_CONFIG_UNKNOWN_KEY'],
  ])('refuses the definition %#', (definition, code) => {
    const { app } = setUp();
    expect(() => app.task(definition as never)).toThrow(expect.objectContaining({ code }));
  });
});

describe('app.remote', () => {
  test('a tuple goes by position and an object by keyword, to the queue of the task', async () => {
    const { app, gateway } = setUp();
    const score = app.remote<[doc: string, model: string], number>('ml.score', { queue: 'gpu', priority: 7 });
    const train = app.remote<{ rate: number }, null>('ml.train', { by: 'keyword' });
    await score.send('d', 'm');
    await train.send({ rate: 0.5 });
    expect(gateway.sent[0]).toMatchObject({ to: { queue: 'gpu' }, priority: 7 });
    expect(gateway.sent.map(argumentsOf)).toEqual([
      { args: ['d', 'm'], kwargs: {} },
      { args: [], kwargs: { rate: 0.5 } },
    ]);
    expect(app.registry.all()).toEqual([]);
    expect(await refusal(() => train.send([1] as never))).toMatchObject({ code: 'E_ARGUMENTS' });
  });

  test('refuses options it does not have', () => {
    const { app } = setUp();
    expect(() => app.remote('x', { retry: true } as never)).toThrow(expect.objectContaining({ code: 'E_CONFIG_UNKNOWN_KEY' }));
    expect(() => app.remote('x', { by: 'name' } as never)).toThrow(expect.objectContaining({ code: 'E_CONFIG_RANGE' }));
  });
});

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
    expect(gateway.sent.map(({ notBeforeMs }) => notBeforeMs)).toEqual([START + 300_000, START + 301_000, START + 60_000, undefined]);
    expect(gateway.sent[0]?.message.headers.eta).toBe('2026-11-21T12:05:00+00:00');
    expect(gateway.sent[3]?.message.headers.eta).toBe('2026-11-21T11:59:00+00:00');
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
    const error = await refusal(() => echo.sendMany([{ args: ['a'] }, { args: [() => 1] }, { args: ['c'], options: { priority: 99 } }, { args: ['d'] }]));
    expect(error).toBeInstanceOf(SendManyError);
    expect(error.code).toBe('E_PUBLISH_FAILED');
    expect(error.message).toContain('2 of 4 rows of echo');
    expect((error as SendManyError).results.map((result) => (result.status === 'sent' ? result.handle.id : codeOf(result.error)))).toEqual([
      gateway.sent[0]?.message.headers.id,
      'E_NOT_SERIALISABLE',
      'E_CONFIG_RANGE',
      gateway.sent[1]?.message.headers.id,
    ]);
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
  const error = (await refusal(() => app.fn('t', () => 1).with({ id: 'x-1' }).send())) as PublishError;
  expect(error).toMatchObject({ name: 'PublishError', code: 'E_PUBLISH_FAILED', outcome: 'not-sent', taskId: 'x-1', message: 't was not sent: no route to host' });
});
