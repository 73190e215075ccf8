/** `map`, `starmap` and `chunks` as callers make them: what runs, what is refused, and the signatures, which are Celery's. */
import { chain, chord, createApp, taskContext } from 'lovage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as z from 'zod';
import { SOON, silent } from './chain-cases.js';

const app = createApp({ broker: 'memory:rows', results: 'memory:rows', logger: silent, defaultQueue: 'rows' });
const ids: string[] = [];
const add = app.fn('add', (x: number, y: number) => {
  ids.push(taskContext().id);
  return x + y;
});
const double = app.fn('double', (value: number) => value * 2, { params: ['value'] });
const flat = app.fn('flat', (chunks: readonly (readonly number[])[]) => chunks.flat());
const sum = app.fn('sum', (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0));
const fail = app.fn('fail', (value: number) => {
  if (value === 3) throw new TypeError(`not ${value}`);
  return value;
});
const order = app.task({ name: 'order', input: z.object({ id: z.number() }), run: ({ id }) => id });

const PAIRS: [number, number][] = [
  [1, 2],
  [3, 4],
  [5, 6],
];

describe('rows on a worker', () => {
  let worker: Awaited<ReturnType<typeof app.worker>>;
  beforeAll(async () => {
    worker = await app.worker({ pool: 'inline', queues: ['rows'], logger: silent });
  });
  afterAll(async () => {
    await worker.close();
    await app.close();
  });

  test('map runs all rows in one task, and gives the list of their results', async () => {
    const handle = await double.map([1, 2, 3]).send();
    expect(await handle.result(SOON)).toEqual([2, 4, 6]);
    expect(
      await double
        .map([])
        .send()
        .then((none) => none.result(SOON)),
    ).toEqual([]);
  });

  test('starmap gives each row as all arguments, to one task', async () => {
    ids.length = 0;
    const handle = await add.starmap(PAIRS).send();
    expect(await handle.result(SOON)).toEqual([3, 7, 11]);
    expect(ids).toEqual([handle.id, handle.id, handle.id]);
  });

  test('chunks are a group of as many tasks as it takes', async () => {
    const handle = await add.chunks(PAIRS, 2).send();
    expect(await handle.result(SOON)).toEqual([[3, 7], [11]]);
    expect(handle.children).toHaveLength(2);
  });

  test('rows of an object task are objects', async () => {
    expect(await (await order.map([{ id: 4 }, { id: 5 }]).send()).result(SOON)).toEqual([4, 5]);
    expect(await (await order.starmap([[{ id: 6 }]]).send()).result(SOON)).toEqual([6]);
  });

  test('they stand in chains and chords, and take nothing from before them', async () => {
    expect(await (await chain(double.si(9), add.starmap(PAIRS), sum.s()).send()).result(SOON)).toBe(21);
    expect(await (await chord(add.chunks(PAIRS, 1), flat.s()).send()).result(SOON)).toEqual([3, 7, 11]);
    expect(await (await chain(double.si(9), add.chunks(PAIRS, 2), flat.s()).send()).result(SOON)).toEqual([3, 7, 11]);
  });

  test('the first row that fails is the failure of the whole', async () => {
    const handle = await fail.map([1, 3, 4]).send();
    await expect(handle.result(SOON)).rejects.toMatchObject({ code: 'E_TASK_FAILED', type: 'TypeError' });
  });
});

describe('signatures of rows', () => {
  test('are written as Celery writes them, with the queue of the task', () => {
    const task = { task: 'add', args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false };
    const options = { queue: 'rows' };
    expect(add.starmap(PAIRS).toJSON()).toEqual({
      ...{ task: 'celery.starmap', args: [], kwargs: { task, it: PAIRS }, options },
      ...{ subtask_type: 'xstarmap', immutable: true },
    });
    expect(double.with({ priority: 7, timeLimit: '5m' }).map([1]).toJSON()).toMatchObject({
      ...{ task: 'celery.map', kwargs: { task: { task: 'double' }, it: [1] }, subtask_type: 'xmap' },
      options: { queue: 'rows', priority: 7, time_limit: 300 },
    });
    const tasks = add.with({ queue: 'slow' }).chunks(PAIRS, 2).toJSON().kwargs['tasks'];
    expect(tasks).toMatchObject([
      { task: 'celery.starmap', kwargs: { it: PAIRS.slice(0, 2) }, options: { queue: 'slow' }, immutable: true },
      { task: 'celery.starmap', kwargs: { it: PAIRS.slice(2) }, options: { queue: 'slow' }, immutable: true },
    ]);
  });

  test('do not change when the list of the caller does', () => {
    const rows: [number, number][] = [[1, 2]];
    const signature = add.starmap(rows);
    rows[0]?.splice(0, 1, 99);
    rows.push([3, 4]);
    expect(signature.toJSON().kwargs['it']).toEqual([[1, 2]]);
  });

  test('say which row does not fit, before anything is sent', async () => {
    await expect(double.starmap([[1], [2, 3] as never]).send()).rejects.toMatchObject({
      code: 'E_ARGUMENTS',
      message: expect.stringContaining('row 1 of celery.starmap'),
    });
    await expect(order.map([{ id: 1 }, { id: 'two' as never }]).send()).rejects.toMatchObject({ code: 'E_ARGUMENTS' });
  });

  test('refuse what is no list, no list of lists, or no size', () => {
    const refused = (make: () => unknown, code: string): void =>
      expect(make).toThrowError(expect.objectContaining({ code }) as unknown as Error);
    refused(() => double.map('12' as never), 'E_ARGUMENTS');
    refused(() => add.starmap([1] as never), 'E_ARGUMENTS');
    refused(() => add.chunks([], 2), 'E_ARGUMENTS');
    for (const size of [0, 1.5, -1, '2' as never]) refused(() => add.chunks(PAIRS, size), 'E_CONFIG_RANGE');
    refused(() => add.with({ id: 'one' }).chunks(PAIRS, 2), 'E_CONFIG_CONFLICT');
    refused(() => add.with({ timeout: '1s' }).starmap(PAIRS), 'E_CONFIG_CONFLICT');
  });
});
