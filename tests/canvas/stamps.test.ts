/** Stamps that this side makes: what every task of a workflow carries, and what is refused. */
import { chain, chord, createApp, group, taskContext, type Worker } from 'lovage';
import type { WireSignature } from 'lovage/wire';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SOON, SOON_POLL, silent } from './chain-cases.js';

const app = createApp({ broker: 'memory:stamps', results: 'memory:stamps', logger: silent, defaultQueue: 'stamps' });
const seen = new Map<string, unknown>();
const note = (): void => void seen.set(taskContext().name, { ...taskContext().stamps });
const add = app.fn('add', (x: number, y: number) => {
  note();
  return x + y;
});
const sum = app.fn('sum', (numbers: readonly number[]) => {
  note();
  return numbers.length;
});
const after = app.fn('after', (_value: number | null) => note());
const alarm = app.fn('alarm', (_id: string) => note());
const flaky = app.fn(
  'flaky',
  () => {
    note();
    if (taskContext().attempt === 1) {
      seen.clear();
      throw new Error('once');
    }
  },
  { retry: { max: 1, base: '1ms', jitter: 'none' } },
);
const fail = app.fn('fail', () => {
  throw new TypeError('no');
});

let worker: Worker;
beforeAll(async () => {
  worker = await app.worker({ pool: 'inline', queues: ['stamps'], logger: silent });
});
beforeEach(() => seen.clear());
afterAll(async () => {
  await worker.close();
  await app.close();
});

const STAMPS = { tenant: 'acme', tag: ['x', 'y'], nth: 7, live: true } as const;

describe('stamps', () => {
  test('of a single task reach it, in a first try and in the next', async () => {
    await (await add.with({ stamps: STAMPS }).send(1, 2)).result(SOON);
    expect(seen.get('add')).toEqual(STAMPS);
    await (await flaky.with({ stamps: STAMPS }).send()).result(SOON);
    expect(seen.get('flaky')).toEqual(STAMPS);
  });

  test('of a workflow are carried by every task of it, callbacks included', async () => {
    const parts = group(add.s(1), chain(add.s(2), add.s(3)));
    const made = chain(add.si(1, 1), parts, sum.s()).link(after.s()).with({ stamps: STAMPS });
    await (await made.send()).result(SOON);
    await expect.poll(() => seen.has('after'), SOON_POLL).toBe(true);
    expect([...seen.values()]).toEqual([STAMPS, STAMPS, STAMPS]);
  });

  test('are carried by errbacks', async () => {
    const made = chain(fail.si(), after.s())
      .onError(alarm.s())
      .with({ stamps: { tenant: 'acme' } });
    await (await made.send()).result(SOON).catch(() => {});
    await expect.poll(() => seen.get('alarm'), SOON_POLL).toEqual({ tenant: 'acme' });
  });

  test('of a step are its own, those of the whole come over them', async () => {
    const inner = add.with({ stamps: { tenant: 'step', step: 1 } }).s(1);
    await (
      await chain(after.si(1), add.si(1, 1), inner, sum.si([]))
        .with({ stamps: { tenant: 'all' } })
        .send()
    ).result(SOON);
    expect(seen.get('add')).toEqual({ tenant: 'all', step: 1 });
    expect([seen.get('after'), seen.get('sum')]).toEqual([{ tenant: 'all' }, { tenant: 'all' }]);
  });

  test('stand in a signature as Celery writes them', () => {
    const made = chord(group([add.si(1, 1)]), sum.s()).with({ stamps: { tenant: 'acme', tag: ['x'] } });
    const { header, body } = made.toJSON().kwargs as { header: WireSignature; body: WireSignature };
    const options = { tenant: 'acme', tag: ['x'], stamped_headers: ['tenant', 'tag'] };
    expect(body.options).toMatchObject(options);
    expect(header.kwargs['tasks']).toMatchObject([{ options }]);
  });

  test('that mean something else, or cannot travel, are refused', () => {
    const refused = (stamps: object, code: string): void => {
      for (const make of [() => add.with({ stamps: stamps as never }), () => add.si(1, 2).with({ stamps: stamps as never })])
        expect(make).toThrowError(expect.objectContaining({ code }) as unknown as Error);
    };
    for (const name of ['queue', 'task_id', 'stamped_headers', 'id', 'root_id', 'lovage_resent', 'constructor'])
      refused({ [name]: 'x' }, 'E_CONFIG_CONFLICT');
    for (const value of [null, undefined, {}, [[1]], [null], Number.NaN, () => 1]) refused({ tenant: value }, 'E_CONFIG_TYPE');
    refused({ '': 'x' }, 'E_CONFIG_RANGE');
    refused({ ['x'.repeat(256)]: 'x' }, 'E_CONFIG_RANGE');
    refused(Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`s${index}`, 1])), 'E_CONFIG_RANGE');
    refused([], 'E_CONFIG_TYPE');
  });
});
