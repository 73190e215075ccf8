/** Workflows that this side makes, beside real Celery: rows that Python runs, and signatures that cross as dicts. */
import { chain, chord, createApp, group } from 'lovage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasCelery, PythonClient, startPythonWorker } from '../support/celery.js';
import { type Fleet, type OurWorker, openFleet, startOurWorker } from './fleet.js';

const VERSIONS = (['5.2', '5.6'] as const).filter((version) => hasCelery(version) || process.env.CI);
const SOON = { timeout: '20s' } as const;
const PAIRS: [number, number][] = [
  [1, 2],
  [3, 4],
  [5, 6],
];

interface Answer {
  readonly id: string;
  readonly result: unknown;
  readonly members: readonly string[];
  readonly parents: readonly string[];
  readonly dict: Readonly<Record<string, unknown>>;
}

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
  let client: PythonClient;
  beforeAll(async () => {
    theirs = await startPythonWorker(version, fleet.broker, fleet.results);
    client = new PythonClient(version, fleet.broker, fleet.results, 'canvas_client.py');
    expect(await client.start()).toContain(version);
    app = createApp({ name: 'client', broker: fleet.broker, results: fleet.results });
  }, 90_000);
  afterAll(async () => {
    await app?.close();
    await client?.close();
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

  const ask = (request: object): Promise<Answer> => client.ask(request as never) as Promise<unknown> as Promise<Answer>;

  test('Python sends what we write as a dict: a task, a chain, a group, a chord, rows', async () => {
    const run = async (signature: { toJSON(): unknown }): Promise<unknown> => (await ask({ run: signature.toJSON() })).result;
    expect(await run(add().si(1, 2))).toBe(3);
    expect(await run(chain(add().si(1, 2), addInPython().s(10), add().s(100)))).toBe(113);
    expect(await run(group(add().si(1, 1), addInPython().si(2, 2)))).toEqual([2, 4]);
    expect(await run(chord(group([add().si(1, 1), addInPython().si(2, 2)]), sum().s()))).toBe(6);
    expect(await run(chain(addInPython().starmap(PAIRS), sum().s()))).toBe(21);
    expect(await run(addInPython().chunks(PAIRS, 2))).toEqual([[3, 7], [11]]);
  });

  test('we send what Python writes as a dict', async () => {
    const run = async (kind: string): Promise<unknown> => {
      const { dict } = await ask({ dict: kind });
      return (await app.signature(dict).send()).result(SOON);
    };
    expect(await run('chain')).toBe(113);
    expect(await run('group')).toEqual([2, 4]);
    expect(await run('chord')).toBe(6);
  });

  test('Python restores a group and a chain that we saved', async () => {
    const members = await group(add().si(1, 1), addInPython().si(2, 2)).send();
    await members.save();
    const restored = await ask({ restore: members.id });
    expect(restored).toMatchObject({ id: members.id, members: members.children.map(({ id }) => id), result: [2, 4] });

    const end = await chain(add().si(1, 2), addInPython().s(10), add().s(100)).send();
    await end.save();
    const [second, first] = (await ask({ restore: end.id })).parents;
    expect(await ask({ restore: end.id })).toMatchObject({ id: end.id, result: 113 });
    expect(second).toBe((await end.parent())?.id);
    expect(await app.handle(first ?? '').result(SOON)).toBe(3);
  });

  test('we restore a group that Python saved', async () => {
    const save = [add().si(1, 1), addInPython().si(2, 2)].map((signature) => signature.toJSON());
    const { id, members } = await ask({ save });
    const restored = await app.restore(id);
    expect(restored && (await restored.result(SOON))).toEqual([2, 4]);
    const { nodes, edges } = (await restored?.graph()) ?? { nodes: [], edges: [] };
    expect(new Set(nodes.map((node) => node.id))).toEqual(new Set([id, ...members]));
    expect(edges.every(({ from, kind }) => from === id && kind === 'member')).toBe(true);
  });

  test('stamps of ours go through Python and back, and Python’s come to us', async () => {
    const stampsOf = () => app.remote<[], Readonly<Record<string, unknown>>>('interop.stamps', { queue: 'interop' });
    const stamps = { tenant: 'acme', tag: ['x', 'y'] };
    const made = chain(add().si(1, 2), addInPython().s(10), stampsOf().si()).with({ stamps });
    // Celery 5.2 knows no stamps, and passes none on
    const arrived = version === '5.2' ? {} : stamps;
    expect(await (await made.send()).result(SOON)).toEqual(arrived);
    expect((await ask({ run: made.toJSON() })).result).toEqual(arrived);
    const ownSteps = chain(add().si(1, 2), stampsOf().si()).with({ stamps });
    expect(await (await ownSteps.send()).result(SOON)).toEqual(stamps);
    if (version === '5.2') return;
    const { dict } = await ask({ dict: 'stamped' });
    const tasks = (app.signature(dict).toJSON().kwargs['tasks'] ?? []) as { options: { stamped_headers: string[] } }[];
    for (const { options } of tasks) {
      expect(new Set(options.stamped_headers)).toEqual(new Set(['tenant', 'tag']));
      expect(options).toMatchObject(stamps);
    }
  });
});
