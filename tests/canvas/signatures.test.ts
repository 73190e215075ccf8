/** Signatures from and to Celery's dict form: what recordings hold, what this side writes, and what is refused. */
import { readdirSync, readFileSync } from 'node:fs';
import { chain, chord, createApp, type GroupHandle, group } from 'lovage';
import { decodeJson, type WireSignature } from 'lovage/wire';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SOON, silent } from './chain-cases.js';

const app = createApp({ broker: 'memory:signatures', results: 'memory:signatures', logger: silent, defaultQueue: 'signatures' });
const add = app.fn('add', (x: number, y: number) => x + y);
const sum = app.fn('sum', (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0));
const year = app.fn('year', (date: Date, more: { readonly at: Date }) => date.getUTCFullYear() + more.at.getUTCFullYear());
const failed = app.fn('failed', (id: string) => id);

/** Every signature in the messages of a recording, with its name. */
function recorded(): [name: string, signature: WireSignature][] {
  const folder = new URL('../vectors/', import.meta.url);
  const found: [string, WireSignature][] = [];
  const collect = (name: string, value: unknown): void => {
    if (Array.isArray(value)) for (const item of value) collect(name, item);
    else if (typeof value === 'object' && value !== null) {
      const fields = value as Record<string, unknown>;
      if (typeof fields['task'] === 'string' && 'subtask_type' in fields && 'options' in fields)
        found.push([`${name} ${fields['task']}`, fields as unknown as WireSignature]);
      for (const [key, field] of Object.entries(fields)) if (key !== 'body_text') collect(name, field);
    }
  };
  for (const file of readdirSync(folder).filter((each) => /^e-.*\.json$/.test(each)))
    collect(file.replace('.json', ''), decodeJson(readFileSync(new URL(file, folder), 'utf8'), { typed: false }));
  return found;
}

describe('what Celery was recorded to write', () => {
  const signatures = recorded();

  test('has chains, groups, chords, callbacks and rows', () => {
    expect(signatures.length).toBeGreaterThan(40);
    const kinds = new Set(signatures.map(([, { subtask_type }]) => subtask_type));
    expect(kinds).toEqual(new Set([null, 'group', 'chord', 'chain']));
  });

  test.each(signatures)('%s is read, and written as it was', (_name, signature) => {
    expect(app.signature(signature).toJSON()).toEqual(signature);
    expect(app.signature(JSON.stringify(signature)).toJSON()).toEqual(signature);
  });
});

describe('what this side writes', () => {
  let worker: Awaited<ReturnType<typeof app.worker>>;
  beforeAll(async () => {
    worker = await app.worker({ pool: 'inline', queues: ['signatures'], logger: silent });
  });
  afterAll(async () => {
    await worker.close();
    await app.close();
  });

  test('runs when it is read again: a task, a chain, a chord, rows', async () => {
    const again = <R>(signature: unknown): Promise<R> =>
      app
        .signature<R>(JSON.parse(JSON.stringify(signature)))
        .send()
        .then((handle) => handle.result(SOON) as Promise<R>);
    expect(await again(add.si(1, 2))).toBe(3);
    expect(await again(chain(add.si(1, 2), add.s(3)))).toBe(6);
    expect(await again(chord(group([add.si(1, 1), add.si(2, 2)]), sum.s()))).toBe(6);
    expect(await again(chain(add.starmap([[1, 2]]), sum.s()))).toBe(3);
    expect(await again(add.chunks([[1, 2]], 5))).toEqual([[3]]);
  });

  test('sends a group to a handle of all its members', async () => {
    const handle = await app.signature<number[]>(group([add.si(1, 1), add.si(2, 2)]).toJSON()).send();
    expect((handle as GroupHandle<number[]>).children).toHaveLength(2);
    expect(await handle.result(SOON)).toEqual([2, 4]);
  });

  test('keeps dates through JSON.stringify', async () => {
    const signature = year.si(new Date('2025-01-01T00:00:00Z'), { at: new Date('2026-05-01T00:00:00Z') });
    expect(JSON.stringify(signature)).toContain('"__type__":"datetime"');
    expect(await (await app.signature<number>(JSON.stringify(signature)).send()).result(SOON)).toBe(4_051);
  });

  test('can stand in chains that the compiler checks as it was told', async () => {
    const stored = JSON.stringify(add.s(10));
    const made = chain(add.si(1, 2), app.signature<number, [previous: number]>(stored), add.s(100));
    expect(await (await made.send()).result(SOON)).toBe(113);
  });

  test('keeps what a chord was given when options come over its body', () => {
    const made = chord(group([add.si(1, 1)]), sum.si([]), { settle: 'all' }).onError(failed.s());
    const { options } = made.toJSON();
    expect(options).toMatchObject({ link_error: [{ task: 'failed' }] });
    expect(made.with({ priority: 3 }).toJSON().options).toEqual(options);
    expect(made.with({ stamps: { tenant: 'a' } }).toJSON().options).toMatchObject({ link_error: [{ options: { tenant: 'a' } }] });
  });

  test('is equal in a clone, and a change of one is none of the other', () => {
    const signature = chain(add.si(1, 2), add.s(3)).onError(failed.s());
    const clone = signature.clone();
    expect(clone).not.toBe(signature);
    expect(clone.toJSON()).toEqual(signature.toJSON());
    expect(clone.with({ priority: 3 }).toJSON()).not.toEqual(signature.toJSON());
    expect(signature.clone().toJSON()).toEqual(app.signature(signature).toJSON());
  });

  test('does not change when the object that was read does', () => {
    const json = JSON.parse(JSON.stringify(add.si(1, 2))) as { args: unknown[] };
    const signature = app.signature(json);
    json.args.push(3);
    expect(signature.toJSON().args).toEqual([1, 2]);
  });
});

describe('what is no signature', () => {
  const task = { task: 'add', args: [1, 2], kwargs: {}, options: {}, subtask_type: null, immutable: false };
  const chained = (tasks: unknown): unknown => ({
    ...task,
    task: 'celery.chain',
    args: [],
    kwargs: { tasks },
    subtask_type: 'chain',
  });
  const cyclic: { task: string; kwargs: Record<string, unknown> } = { task: 'add', kwargs: {} };
  cyclic.kwargs['self'] = cyclic;

  test.each<[what: string, given: unknown, code: string]>([
    ['nothing', null, 'E_DECODE'],
    ['a number', 5, 'E_DECODE'],
    ['text that is no JSON', '{task', 'E_DECODE'],
    ['an object without a task', { args: [] }, 'E_DECODE'],
    ['an empty name', { ...task, task: '' }, 'E_DECODE'],
    ['arguments that are no list', { ...task, args: 'ab' }, 'E_DECODE'],
    ['options that are none', { ...task, options: [] }, 'E_DECODE'],
    ['a chain without tasks', chained(undefined), 'E_DECODE'],
    ['a chain of nothing', chained([]), 'E_DECODE'],
    ['a chain with a part that is none', chained([task, { args: [] }]), 'E_DECODE'],
    ['a callback that is none', { ...task, options: { link: [5] } }, 'E_DECODE'],
    ['an errback deep inside that is none', chained([chained([{ ...task, options: { link_error: {} } }])]), 'E_DECODE'],
    ['a chord without a body', { ...task, task: 'celery.chord', kwargs: { header: [task] } }, 'E_DECODE'],
    ['a map without a task', { ...task, task: 'celery.map', kwargs: { it: [] } }, 'E_DECODE'],
    ['a starmap without rows', { ...task, task: 'celery.starmap', kwargs: { task } }, 'E_DECODE'],
    ['chunks of no size', { ...task, task: 'celery.chunks', kwargs: { task, it: [[1, 2]], n: 0 } }, 'E_DECODE'],
    ['a name that harms who merges it', '{"task":"add","kwargs":{"__proto__":{"x":1}}}', 'E_DECODE'],
    ['something with a function in it', { ...task, args: [() => 1] }, 'E_NOT_SERIALISABLE'],
    ['something that holds itself', cyclic, 'E_NOT_SERIALISABLE'],
  ])('%s is refused', (_what, given, code) => {
    expect(() => app.signature(given)).toThrowError(expect.objectContaining({ code }) as unknown as Error);
  });

  test('chains within chains without end are refused, not followed', () => {
    let deep: unknown = task;
    for (let level = 0; level < 500; level++) deep = chained([deep]);
    expect(() => app.signature(deep)).toThrowError(expect.objectContaining({ code: 'E_NOT_SERIALISABLE' }) as unknown as Error);
    expect(() => app.signature(JSON.stringify(deep))).toThrowError(
      expect.objectContaining({ code: 'E_DECODE' }) as unknown as Error,
    );
  });
});
