import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import * as z from 'zod';
import { ArgumentError } from '../core/errors.js';
import { argumentsOf, refusal, scriptedApp as setUp } from '../testing/scripted-gateway.js';
import { taskContext } from './task-context.js';

describe('app.fn', () => {
  test('send puts the arguments by position into a message for the default queue', async () => {
    const { app, gateway } = setUp();
    const add = app.fn('math.add', (x: number, y: number) => x + y);
    const handle = await add.send(1, 2);
    const [outgoing] = gateway.sent;
    expect(outgoing?.to).toEqual({ queue: 'lovage' });
    expect(argumentsOf(outgoing)).toEqual({ args: [1, 2], kwargs: {} });
    expect(outgoing?.message.headers).toMatchObject({
      task: 'math.add',
      id: handle.id,
      root_id: handle.id,
      parent_id: null,
      ignore_result: false,
      lang: 'js',
    });
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
    expect(error).toMatchObject({
      code: 'E_NOT_SERIALISABLE',
      message: 'args[0].save is a function: pass the id and load the row inside the task',
    });
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
    [{ rateLimit: '10/d' }, 'E_CONFIG_RANGE', 'task t: rateLimit'],
    [{ rateLimit: true }, 'E_CONFIG_RANGE', 'rateLimit'],
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
    app.fn('full', () => 1, {
      retry: true,
      softTimeLimit: '1s',
      timeLimit: '2s',
      ack: 'early',
      resultTtl: false,
      throws: 'E',
      queue: 'q',
    });
    expect(app.registry.get('plain')?.options).toMatchObject({
      queue: null,
      retry: null,
      softTimeLimitMs: null,
      ack: 'late',
      ignoreResult: false,
      resultTtlMs: 7_200_000,
    });
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
    expect((await refusal(() => sync.send({ user: { save() {} } }))).message).toBe(
      'input.user.save is a function: pass the id and load the row inside the task',
    );
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
    const execute = (args: unknown[], kwargs: Record<string, unknown>) =>
      app.registry.get('sync')?.execute(args, kwargs, undefined as never);
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
