/** Types of definitions: what infers, and what must not compile. Compiled by `types.test.ts`, never run. */
import { createApp, type Duration, type RemoteTask, type Task, type TaskContext, type WireValue } from 'lovage';
import * as v from 'valibot';
import * as z from 'zod';
import type { Equal, Expect } from './equal.js';

const app = createApp({ broker: 'memory:', routes: { 'reports.*': { queue: 'slow' } }, resultTtl: '1d' });

// --- app.task: input and output of the schema, the name as a literal, the context

const sync = app.task({
  name: 'invoices.sync',
  input: z.object({ id: z.string(), limit: z.coerce.number().default(10) }),
  retry: {
    max: 5,
    backoff: 'exponential',
    base: '1s',
    cap: '10m',
    jitter: 'full',
    on: [TypeError, 'ECONNRESET', (error: unknown) => error === 1],
  },
  softTimeLimit: '25s',
  timeLimit: '30s',
  rateLimit: '100/m',
  run: async (input, ctx) => {
    const parsed: Expect<Equal<typeof input, { id: string; limit: number }>> = true;
    const context: Expect<Equal<typeof ctx, TaskContext>> = true;
    return { at: new Date(), parsed, context };
  },
});
export type SyncName = Expect<Equal<typeof sync.name, 'invoices.sync'>>;
export type SyncInput = Expect<Equal<Parameters<typeof sync.send>, [input: { id: string; limit?: unknown }]>>;

const list = app.task({
  name: 'orders.list',
  input: v.object({ id: v.string(), note: v.optional(v.string()) }),
  run: ({ id, note }) => [{ sku: id, cents: 1, note: note ?? null }],
  onSuccess: (rows) => rows.map((row) => row.cents.toFixed()),
});
export type ListTask = Expect<
  Equal<
    typeof list,
    Task<
      [input: { id: string; note?: string | undefined }],
      { sku: string; cents: number; note: string | null }[],
      'orders.list',
      'object'
    >
  >
>;

const parsed = app.task({
  name: 'parsed',
  input: z.object({}),
  output: z.object({ when: z.coerce.date() }),
  run: async () => ({ when: '2026-01-01' }),
  onSuccess: ({ when }) => when.getTime(),
});
export type ParsedResult = Expect<Equal<Awaited<ReturnType<typeof parsed.run>>, { when: Date }>>;

const nothing = app.task({ name: 'nothing', input: z.object({ a: z.number() }), run: async () => {} });
export type NothingResult = Expect<Equal<Awaited<ReturnType<typeof nothing.run>>, void>>;

// @ts-expect-error the input schema must describe an object: its fields travel as keywords
app.task({ name: 'text', input: z.string(), run: (text) => text });
// @ts-expect-error run() returns what the output schema does not take
app.task({ name: 'wrong-output', input: z.object({}), output: z.object({ ok: z.boolean() }), run: async () => ({ ok: 'yes' }) });
// @ts-expect-error the input holds a function
app.task({ name: 'input-function', input: z.object({ f: z.custom<() => void>() }), run: () => 1 });
const aMap = z.map(z.string(), z.string());
// @ts-expect-error the output schema makes a Map
app.task({ name: 'output-map', input: z.object({}), output: aMap, run: () => new Map<string, string>() });
// @ts-expect-error an unknown option
app.task({ name: 'unknown-option', input: z.object({}), retries: 3, run: () => 1 });
// @ts-expect-error a duration has a unit
app.task({ name: 'no-unit', input: z.object({}), timeLimit: 30, run: () => 1 });
// @ts-expect-error a duration has a unit
app.task({ name: 'no-unit-text', input: z.object({}), timeLimit: '30', run: () => 1 });
// @ts-expect-error a rate has a unit
app.task({ name: 'rate-no-unit', input: z.object({}), rateLimit: 10, run: () => 1 });
// @ts-expect-error a rate is a number a second, minute or hour
app.task({ name: 'rate-a-day', input: z.object({}), rateLimit: '10/d', run: () => 1 });
// @ts-expect-error endless is asked for by name
app.task({ name: 'endless', input: z.object({}), retry: { max: 'forever' }, run: () => 1 });

// --- app.fn: positions, optional and rest parameters

const add = app.fn('math.add', (x: number, y: number) => x + y, { params: ['x', 'y'] });
export type AddTask = Expect<Equal<typeof add, Task<[x: number, y: number], number, 'math.add'>>>;
const greet = app.fn('greet', async (name: string, greeting?: string) => `${greeting ?? 'hello'} ${name}`);
export type GreetSend = Expect<Equal<Parameters<typeof greet.send>, [name: string, greeting?: string | undefined]>>;
const sum = app.fn('sum', (...numbers: number[]) => numbers.length, { onSuccess: (count) => count.toFixed() });
export type SumSend = Expect<Equal<Parameters<typeof sum.send>, number[]>>;
const open = app.fn('open', (value: unknown, more: WireValue) => ({ value, more }));
export type OpenSend = Expect<Equal<Parameters<typeof open.send>, [value: unknown, more: WireValue]>>;
const fails = app.fn('fails', (): never => {
  throw new Error();
});
export type FailsResult = Expect<Equal<Awaited<ReturnType<typeof fails.run>>, never>>;

interface Tree {
  readonly value: number;
  readonly children: readonly Tree[];
}
interface Report {
  total: number;
  by?: Record<string, number>;
  bytes: Uint8Array;
  big: bigint;
  parts: [string, number | null];
}
app.fn(
  'report',
  async (tree: Tree): Promise<Report> => ({ total: tree.value, bytes: new Uint8Array(), big: 1n, parts: ['', null] }),
);
app.fn('buffer', (data: Buffer) => data);
app.fn('any', (data: string) => JSON.parse(data));
app.fn('union', (n: number) => (n > 0 ? { ok: true as const, n } : { ok: false as const }));

class Row {
  id = 1;
  save(): void {}
}
// @ts-expect-error a Map does not travel
app.fn('result-map', async (n: number) => new Map([[n, n]]));
// @ts-expect-error a Set does not travel
app.fn('result-set', (n: number) => new Set([n]));
// @ts-expect-error a function inside the result
app.fn('result-function', (n: number) => ({ n, f: () => n }));
// @ts-expect-error a class instance with methods
app.fn('result-class', () => new Row());
// @ts-expect-error deep inside
app.fn('result-deep', () => ({ rows: [{ row: new Row() }] }));
// @ts-expect-error one of the alternatives does not travel
app.fn('result-union', (n: number) => (n > 0 ? n : Symbol('x')));
// @ts-expect-error an Error is not data
app.fn('result-error', () => ({ error: new Error('x') }));
// @ts-expect-error a class instance as argument: pass its id
app.fn('argument-class', (row: Row) => row.id);
// @ts-expect-error a callback as argument
app.fn('argument-function', (n: number, done: () => void) => [done, n].length);
// @ts-expect-error hooks see the result's type
app.fn('hook', () => 1, { onSuccess: (text: string) => text });
// @ts-expect-error a task is not a function: a forgotten send() does not compile
add(1, 2);

// --- app.remote

const score = app.remote<[doc: string, model: string], { value: number }>('ml.score', { queue: 'gpu' });
export type ScoreTask = Expect<Equal<typeof score, RemoteTask<[doc: string, model: string], { value: number }>>>;
const train = app.remote<{ rate: number; steps?: number }, null>('ml.train', { by: 'keyword', queue: 'gpu' });
export type TrainSend = Expect<Equal<Parameters<typeof train.send>, [input: { rate: number; steps?: number }]>>;
app.remote<[], string>('ml.ping');
// @ts-expect-error an object travels by keyword, which must be said at run time too
app.remote<{ rate: number }, null>('ml.train');
// @ts-expect-error a tuple does not travel by keyword
app.remote<[rate: number], null>('ml.train', { by: 'keyword' });
// @ts-expect-error a remote task has no options of the worker
app.remote<[], null>('ml.train', { retry: true });
// @ts-expect-error it lives elsewhere and cannot be run here
score.run('d', 'm');

// --- options of the app

// @ts-expect-error an unknown option
createApp({ brokers: 'memory:' });
// @ts-expect-error a duration has a unit
createApp({ resultTtl: 3600 });
// @ts-expect-error one of two words
createApp({ json: 'pickle' });
export const duration: Duration = '1.5h';
// @ts-expect-error no such unit
export const weeks: Duration = '2w';
