/** Results with `extendedResults`, as real Celery reads them: `AsyncResult` has name, arguments, worker, queue and retries. */
import { chain, chord, createApp, group } from 'lovage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasCelery, PythonClient } from '../support/celery.js';
import { type Fleet, type FleetName, type OurWorker, openFleet, startOurWorker } from './fleet.js';

const VERSIONS = (['5.2', '5.6'] as const).filter((version) => hasCelery(version) || process.env.CI);
const SOON = { timeout: '20s' } as const;
const APP = 'tests/interop/extended-app.ts';

describe.each<FleetName>(['redis', 'rabbitmq with redis results'])('%s', (name) => {
  let fleet: Fleet;
  let worker: OurWorker;
  let app: ReturnType<typeof createApp>;
  beforeAll(async () => {
    fleet = await openFleet(name);
    worker = await startOurWorker(fleet, ['--name', 'extended@here'], APP);
    app = createApp({ name: 'client', broker: fleet.broker, results: fleet.results });
  }, 90_000);
  afterAll(async () => {
    await app?.close();
    await worker?.stop();
    await fleet?.close();
  });
  const add = () => app.remote<[x: number, y: number], number>('interop.add', { queue: 'interop' });
  const fail = () => app.remote<[message: string], number>('interop.fail', { queue: 'interop' });

  describe.each(VERSIONS)('Celery %s', (version) => {
    let client: PythonClient;
    beforeAll(async () => {
      client = new PythonClient(version, fleet.broker, fleet.results);
      expect(await client.start()).toContain(version);
    }, 60_000);
    afterAll(() => client?.close());

    test('a success tells of its last try', async () => {
      const handle = await add().send(2, 3);
      expect(await handle.result(SOON)).toBe(5);
      expect(await client.ask({ extended: handle.id })).toEqual({
        ...{ name: 'interop.add', args: [2, 3], kwargs: {}, worker: 'extended@here', queue: 'interop', retries: 1 },
      });
    });

    test('what a Python client sent by keyword is told as such', async () => {
      const options = { queue: 'interop' };
      const { id, result } = await client.ask({ task: 'interop.add', kwargs: { x: 2, y: 3 }, options });
      expect(result).toBe(5);
      expect(await client.ask({ extended: id })).toMatchObject({ args: [], kwargs: { x: 2, y: 3 }, worker: 'extended@here' });
    });

    test('a failure tells of itself, and of the task behind it that never ran', async () => {
      const handle = await chain(fail().si('boom'), add().s(10)).send();
      await expect(handle.result(SOON)).rejects.toThrow('boom');
      const failed = await handle.parent();
      expect(await client.ask({ extended: String(failed?.id) })).toEqual({
        ...{ name: 'interop.fail', args: ['boom'], kwargs: {}, worker: 'extended@here', queue: 'interop', retries: 0 },
      });
      expect(await client.ask({ extended: handle.id })).toEqual({
        ...{ name: 'interop.add', args: [10], kwargs: {}, worker: null, queue: null, retries: 0 },
      });
    });

    test('an expired task and its chord tell what they were', async () => {
      const late = add().with({ expires: new Date(Date.now() - 60_000) });
      const handle = await chord(group(late.si(1, 1), add().si(2, 2)), fail().si('never')).send();
      await expect(handle.result(SOON)).rejects.toMatchObject({ type: 'ChordError' });
      expect(await client.ask({ extended: handle.id })).toMatchObject({ name: 'interop.fail', args: ['never'], worker: null });
    });
  });

  test('lovage graph has names of tasks that nobody saved', async () => {
    const handle = await chain(add().si(2, 3), add().s(4)).send();
    expect(await handle.result(SOON)).toBe(9);
    const { nodes } = await app.handle(handle.id).graph();
    expect(nodes.map((node) => node.name)).toEqual(['interop.add', 'interop.add']);
  });
});
