/** Workflows that this side makes, beside real Celery: rows that Python runs. */
import { chain, chord, createApp } from 'lovage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasCelery, startPythonWorker } from '../support/celery.js';
import { type Fleet, type OurWorker, openFleet, startOurWorker } from './fleet.js';

const VERSIONS = (['5.2', '5.6'] as const).filter((version) => hasCelery(version) || process.env.CI);
const SOON = { timeout: '20s' } as const;
const PAIRS: [number, number][] = [
  [1, 2],
  [3, 4],
  [5, 6],
];

let fleet: Fleet;
let ours: OurWorker;
beforeAll(async () => {
  fleet = await openFleet('redis');
  ours = await startOurWorker(fleet, ['--concurrency', '20'], 'tests/interop/canvas-app.ts');
}, 90_000);
afterAll(async () => {
  await ours?.stop();
  await fleet?.close();
});

describe.each(VERSIONS)('Celery %s', (version) => {
  let theirs: Awaited<ReturnType<typeof startPythonWorker>>;
  let app: ReturnType<typeof createApp>;
  beforeAll(async () => {
    theirs = await startPythonWorker(version, fleet.broker, fleet.results);
    app = createApp({ name: 'client', broker: fleet.broker, results: fleet.results });
  }, 90_000);
  afterAll(async () => {
    await app?.close();
    await theirs?.stop();
  });

  const add = () => app.remote<[x: number, y: number], number>('interop.add', { queue: 'interop' });
  const addInPython = () => app.remote<[x: number, y: number], number>('py.add', { queue: 'python' });
  const sum = () => app.remote<[numbers: readonly number[]], number>('interop.sum', { queue: 'interop' });
  const sumInPython = () => app.remote<[numbers: readonly number[]], number>('py.sum', { queue: 'python' });

  test('Python runs our map, starmap and chunks of its tasks', async () => {
    const lists = sumInPython().map([[1, 2], [3], []]);
    expect(await (await lists.send()).result(SOON)).toEqual([3, 3, 0]);
    expect(await (await addInPython().starmap(PAIRS).send()).result(SOON)).toEqual([3, 7, 11]);
    expect(await (await addInPython().chunks(PAIRS, 2).send()).result(SOON)).toEqual([[3, 7], [11]]);
  });

  test('rows of either language stand in chains and chords with the other', async () => {
    expect(await (await chain(add().si(9, 9), addInPython().starmap(PAIRS), sum().s()).send()).result(SOON)).toBe(21);
    const doubled = addInPython().starmap(PAIRS);
    expect(await (await chain(doubled, sum().s(), addInPython().s(100)).send()).result(SOON)).toBe(121);
    // a chord's body in Python, whose parts are chunks of ours
    const lengths = app.remote<[lists: readonly (readonly number[])[]], { args: unknown[] }>('py.echo', { queue: 'python' });
    const { args } = await (await chord(add().chunks(PAIRS, 2), lengths.s()).send()).result(SOON);
    expect(args).toEqual([[[3, 7], [11]]]);
  });
});
