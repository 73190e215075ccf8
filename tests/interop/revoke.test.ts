/** Revoking across languages: our revoke reaches a Python worker and Python's reaches ours, before a task begins and while it runs. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { App } from '../../src/app/app.js';
import { silentLogger } from '../../src/core/logger.js';
import { createApp } from '../../src/index.js';
import { hasCelery, PythonClient, startPythonWorker } from '../support/celery.js';
import { until } from '../worker/harness.js';
import { CeleryCli } from './celery-cli.js';
import { type Fleet, type FleetName, type OurWorker, openFleet, ourResults, startOurWorker } from './fleet.js';

const VERSIONS = (['5.2', '5.6'] as const).filter((version) => hasCelery(version) || process.env.CI);
const OURS = 'ours@suite';
const WAIT = { timeout: '30s' } as const;
const PATIENT = { timeout: '5s' } as const;

describe.each<FleetName>(['redis', 'rabbitmq with redis results'])('%s', (name) => {
  describe.each(VERSIONS)('Celery %s', (version) => {
    let fleet: Fleet;
    let ours: OurWorker;
    let python: Awaited<ReturnType<typeof startPythonWorker>>;
    let cli: CeleryCli;
    let client: PythonClient;
    let app: App;

    beforeAll(async () => {
      fleet = await openFleet(name);
      ours = await startOurWorker(fleet, ['--name', OURS, '--threads', '1', '--concurrency', '4']);
      python = await startPythonWorker(version, fleet.broker, fleet.results);
      cli = new CeleryCli(version, fleet.broker);
      expect(await cli.start()).toContain(version);
      client = new PythonClient(version, fleet.broker, fleet.results);
      await client.start();
      app = createApp({
        name: 'revoke',
        broker: fleet.broker,
        results: ourResults(fleet),
        logger: silentLogger,
        sendTimeout: '30s',
      });
    }, 120_000);
    afterAll(async () => {
      await app?.close();
      await client?.close();
      await cli?.close();
      await ours?.stop();
      await python?.stop();
      await fleet?.close();
    }, 60_000);

    const stateFor = async (id: string): Promise<string | undefined> => (await client.ask({ state: id })).state;
    /** Hears `task-revoked` of workers of both languages from now on. */
    const revokedEvents = async (): Promise<{ has(uuid: string, fields: object): Promise<void> }> => {
      const stream = app.events({ types: ['task-revoked'] });
      await stream.ready;
      await app.control.enableEvents(PATIENT);
      return {
        async has(uuid, fields) {
          for await (const event of stream) {
            if (event.uuid !== uuid) continue;
            expect(event).toMatchObject(fields);
            break;
          }
          await stream.close();
        },
      };
    };
    const known = async (id: string): Promise<number> => {
      const { answers } = await app.control.revoked(PATIENT);
      return [...answers.values()].filter((ids) => ids.includes(id)).length;
    };

    test('our revoke keeps a Python worker from beginning a task that it holds for its time', { timeout: 90_000 }, async () => {
      const add = app.remote<[number, number], number>('py.add', { queue: 'python' });
      const doomed = await add.with({ countdown: '10s' }).send(1, 2);
      const other = await add.with({ countdown: '10s' }).send(3, 4);
      expect(await app.control.revoke(doomed.id)).toEqual(new Map([[doomed.id, expect.stringMatching(/recorded|removed/)]]));
      await until(async () => (await known(doomed.id)) === 2, 'both workers know of it', 20_000);
      expect(await other.result(WAIT)).toBe(7);
      expect(await doomed.state()).toBe('REVOKED');
      expect(await stateFor(doomed.id)).toBe('REVOKED');
    });

    test('our revoke with terminate ends a task that runs in Python', { timeout: 90_000 }, async () => {
      const sleep = app.remote<[number], number>('py.sleep', { queue: 'python' });
      const running = await sleep.send(120);
      await until(
        async () => {
          const { answers } = await app.control.active(PATIENT);
          return [...answers.values()].flat().some(({ id }) => id === running.id);
        },
        'it runs',
        20_000,
      );
      const told = await revokedEvents();
      await running.revoke({ terminate: true, signal: 'SIGTERM' });
      await until(async () => (await running.status()).error?.message === 'terminated', 'Python says so', 30_000);
      await told.has(running.id, { terminated: true, signum: 15, expired: false });
    });

    test("Python's revoke keeps our worker from beginning a task", { timeout: 90_000 }, async () => {
      const id = randomUUID();
      const answer = await cli.answer('control', OURS, 'revoke', id);
      expect(answer).toEqual({ ok: expect.stringContaining(id) });
      // at once, as Celery's workers since 5.6.1, and not only when its message comes
      expect(await app.handle(id).state()).toBe('REVOKED');
      const { error } = await client.ask({
        ...{ task: 'interop.add', kwargs: { x: 1, y: 2 }, options: { task_id: id, queue: 'interop' }, timeout: 30 },
      });
      expect(error).toMatchObject({ type: 'TaskRevokedError', text: 'revoked' });
      expect(await app.handle(id).state()).toBe('REVOKED');
    });

    test("Python's terminate ends a task that runs in our worker", { timeout: 90_000 }, async () => {
      const sleep = app.remote<[number], number>('interop.sleep', { queue: 'interop' });
      const running = await sleep.send(120);
      await until(
        async () => {
          const { answers } = await app.control.active(PATIENT);
          return (answers.get(OURS) ?? []).some(({ id }) => id === running.id);
        },
        'it runs',
        20_000,
      );
      const told = await revokedEvents();
      expect(await cli.answer('control', OURS, 'terminate', 'SIGTERM', running.id)).toEqual({ ok: `terminate: ${running.id}` });
      await until(async () => (await running.status()).error?.message === 'terminated', 'ours says so', 30_000);
      // the same that Python's worker says of its own
      await told.has(running.id, { terminated: true, signum: 15, expired: false });
      expect(await stateFor(running.id)).toBe('REVOKED');
    });
  });
});
