/**
 * A real Celery client against a worker of ours, on the tasks of examples/interop/app.ts.
 *
 * No result here is due a whole second after it was asked for: with `rpc://` the client of Celery 5.6 polls in steps of
 * one second and loses an answer that arrives just as a step ends, from a Python worker too (a task of `sleep(1.0)` shows it).
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasCelery, PythonClient } from '../support/celery.js';
import { type Fleet, type FleetName, type OurWorker, openFleet, startOurWorker } from './fleet.js';

const VERSIONS = (['5.2', '5.6'] as const).filter((version) => hasCelery(version) || process.env.CI);

describe.each<FleetName>(['redis', 'rabbitmq with rpc results', 'rabbitmq with redis results'])('%s', (name) => {
  let fleet: Fleet;
  let worker: OurWorker;
  beforeAll(async () => {
    fleet = await openFleet(name);
    worker = await startOurWorker(fleet, ['--unknown-task-patience', '700ms', '--concurrency', '20']);
  }, 90_000);
  afterAll(async () => {
    await worker?.stop();
    await fleet?.close();
  });

  describe.each(VERSIONS)('Celery %s', (version) => {
    let python: PythonClient;
    beforeAll(async () => {
      python = new PythonClient(version, fleet.broker, fleet.results);
      expect(await python.start()).toContain(version);
    }, 60_000);
    afterAll(async () => {
      await python?.close();
    });

    test('calls by position and by keyword', async () => {
      expect(await python.ask({ task: 'interop.add', args: [2, 3] })).toMatchObject({ state: 'SUCCESS', result: 5 });
      expect(await python.ask({ task: 'interop.add', kwargs: { x: 4, y: 5 } })).toMatchObject({ state: 'SUCCESS', result: 9 });
      expect(await python.ask({ task: 'interop.add', args: [1], kwargs: { y: 1 } })).toMatchObject({
        state: 'SUCCESS',
        result: 2,
      });
    });

    test('arguments come back as they went, with unicode and huge integers', async () => {
      const args = ['žluťoučký 🐎 \u0000', 9007199254740991, 2n ** 70n, -(2n ** 64n), [1.5, null, true], { a: { b: [] } }, ''];
      expect(await python.ask({ task: 'interop.echo', args, kwargs: { ключ: 'значение' } })).toMatchObject({
        state: 'SUCCESS',
        result: { args, kwargs: { ключ: 'значение' } },
      });
    });

    test('a failure arrives as the exception that it names, with a readable traceback', async () => {
      const reply = await python.ask({ task: 'interop.fail', args: ['boom'] });
      expect(reply).toMatchObject({ state: 'FAILURE', error: { type: 'ValueError', text: 'boom' } });
      expect(reply.traceback).toContain('examples/interop/app.ts');
    });

    test('a task that fails twice is tried again and succeeds', async () => {
      expect(await python.ask({ task: 'interop.flaky', args: [`${version}-${name}`, 2] })).toMatchObject({
        state: 'SUCCESS',
        result: { tries: 3 },
      });
    });

    test('countdown and eta are kept', async () => {
      const startedMs = Date.now();
      expect(await python.ask({ task: 'interop.add', args: [1, 1], options: { countdown: 1.2 } })).toMatchObject({ result: 2 });
      expect(Date.now() - startedMs).toBeGreaterThanOrEqual(1_190);
      const etaMs = Date.now() + 1_400;
      expect(
        await python.ask({ task: 'interop.add', args: [1, 1], options: { eta: new Date(etaMs).toISOString() } }),
      ).toMatchObject({ result: 2 });
      expect(Date.now()).toBeGreaterThanOrEqual(etaMs);
    });

    test('a priority is accepted', async () => {
      expect(await python.ask({ task: 'interop.add', args: [1, 2], options: { priority: 5 } })).toMatchObject({ result: 3 });
    });

    test('a megabyte arrives and comes back', async () => {
      const big = 'é'.repeat(500_000);
      const reply = await python.ask({ task: 'interop.echo', args: [big] });
      expect((reply.result as { args: string[] }).args[0]).toBe(big);
    });

    test('progress is seen on the way', async () => {
      const reply = await python.ask({ watch: { task: 'interop.progress', args: [3] } });
      expect(reply.states?.at(-1)).toEqual(['SUCCESS', 3]);
      expect(reply.states).toContainEqual(['PROGRESS', { current: 2, total: 3 }]);
    });

    test('ignore_result leaves nothing behind', async () => {
      const { ids } = await python.ask({ send: [{ task: 'interop.add', args: [1, 1], options: { ignore_result: true } }] });
      // The queue is first in, first out: once the next one is done, the ignored one has been taken too.
      await python.ask({ task: 'interop.sleep', args: [0.3] });
      expect(await python.ask({ state: ids?.[0] as string })).toMatchObject({ state: 'PENDING' });
    });

    test('an unknown task ends as NotRegistered once patience is over', async () => {
      const reply = await python.ask({ task: 'interop.nobody', timeout: 30 });
      expect(reply).toMatchObject({ state: 'FAILURE', error: { type: 'NotRegistered' } });
    }, 40_000);

    test('a task that has expired is revoked, or dropped by the broker', async () => {
      const { ids } = await python.ask({ send: [{ task: 'interop.add', args: [1, 1], options: { expires: -5 } }] });
      await python.ask({ task: 'interop.sleep', args: [0.3] });
      const reply = await python.ask({ state: ids?.[0] as string });
      expect(name === 'redis' ? ['REVOKED'] : ['REVOKED', 'PENDING']).toContain(reply.state);
    });
  });
});
