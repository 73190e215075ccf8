/** Our control client against a real Celery worker: every command means there what it means to `celery inspect` and `celery control`. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { App } from '../../src/app/app.js';
import type { ControlAnswers } from '../../src/app/control/control-types.js';
import { createApp } from '../../src/index.js';
import { until } from '../../src/testing/conformance/broker-kit.js';
import { hasCelery, startPythonWorker } from '../support/celery.js';
import { type Fleet, type FleetName, openFleet } from './fleet.js';

const VERSIONS = (['5.2', '5.6'] as const).filter((version) => hasCelery(version) || process.env.CI);
const CASES = (['redis', 'rabbitmq with rpc results'] as const).flatMap((name) =>
  VERSIONS.map((version) => [name, version] as const),
);
/** Only somebody who waits it out although all have answered would need it. */
const PATIENT = { timeout: '30s' } as const;

describe.each<readonly [FleetName, '5.2' | '5.6']>(CASES)('%s, Celery %s', (name, version) => {
  let fleet: Fleet;
  let worker: Awaited<ReturnType<typeof startPythonWorker>>;
  let app: App;
  let node = '';
  const only = <T>({ answers, errors }: ControlAnswers<T>): T => {
    expect([...errors]).toEqual([]);
    expect([...answers.keys()]).toEqual([node]);
    return answers.get(node) as T;
  };

  beforeAll(async () => {
    fleet = await openFleet(name);
    worker = await startPythonWorker(version, fleet.broker, fleet.results);
    app = createApp({ name: 'control', broker: fleet.broker, results: 'memory:' });
    // RabbitMQ's first question waits for its timeout; from then on the node is known.
    const { answers } = await app.control.ping({ timeout: '5s' });
    node = [...answers.keys()][0] ?? '';
    expect([...answers.values()]).toEqual([{ ok: 'pong' }]);
  }, 120_000);
  afterAll(async () => {
    await app?.close();
    await worker?.stop();
    await fleet?.close();
  });

  test('answers are there as soon as all have answered, not after the timeout', async () => {
    const startedMs = performance.now();
    const { answers, complete } = await app.control.ping(PATIENT);
    expect([[...answers.keys()], complete]).toEqual([[node], true]);
    expect(performance.now() - startedMs).toBeLessThan(10_000);
  });

  test('inspects', async () => {
    const { control } = app;
    expect(only(await control.registered([], PATIENT))).toEqual(expect.arrayContaining(['py.add', 'py.sleep']));
    expect(only(await control.stats(PATIENT))).toMatchObject({ pid: expect.any(Number) as number, pool: {} });
    expect(only(await control.activeQueues(PATIENT))).toMatchObject([{ name: 'python', routing_key: 'python' }]);
    expect(only(await control.clock(PATIENT)).clock).toBeGreaterThan(0);
    expect(only(await control.conf(PATIENT))).toMatchObject({ task_default_queue: 'python' });
    expect(only(await control.report(PATIENT)).ok).toContain('celery');
    expect(only(await control.revoked(PATIENT))).toEqual([]);
    expect(only(await control.scheduled(PATIENT))).toEqual([]);
    expect(only(await control.reserved(PATIENT))).toEqual([]);
  });

  test('sees what runs, by listing and by id', async () => {
    const { control } = app;
    const handle = await app.remote<[number], number>('py.sleep', { queue: 'python' }).send(4);
    await until(async () => only(await control.active(PATIENT)).length > 0, 'the task to run', 20_000);
    const [running] = only(await control.active(PATIENT));
    expect(running).toMatchObject({ id: handle.id, name: 'py.sleep', hostname: node });
    const found = only(await control.queryTask([handle.id, 'nobody'], PATIENT));
    expect(Object.keys(found)).toEqual([handle.id]);
    expect(found[handle.id]?.[0]).toBe('active');
  });

  test('steers limits, queues, pool and events', async () => {
    const { control } = app;
    expect(only(await control.rateLimit('py.add', '10/m', PATIENT))).toEqual({ ok: 'new rate limit set successfully' });
    expect(only(await control.registered(['rate_limit'], PATIENT)).find((text) => text.startsWith('py.add'))).toContain('10/m');
    expect(only(await control.rateLimit('py.add', 0, PATIENT))).toEqual({ ok: 'rate limit disabled successfully' });
    const limits = { soft: '10s', hard: '20s' } as const;
    expect(only(await control.timeLimit('py.add', limits, PATIENT))).toEqual({ ok: 'time limits set successfully' });
    expect(only(await control.addConsumer('more', PATIENT))).toEqual({ ok: 'add consumer more' });
    const queues = async (): Promise<unknown[]> => only(await control.activeQueues(PATIENT)).map((queue) => queue['name']);
    await until(async () => (await queues()).includes('more'), 'the queue to be consumed', 20_000);
    expect(only(await control.cancelConsumer('more', PATIENT))).toEqual({ ok: 'no longer consuming from more' });
    await until(async () => !(await queues()).includes('more'), 'the queue to be left', 20_000);
    expect(only(await control.enableEvents(PATIENT))).toEqual({ ok: 'task events enabled' });
    expect(only(await control.disableEvents(PATIENT))).toEqual({ ok: 'task events disabled' });
    expect(await control.call('heartbeat', {}, PATIENT)).toMatchObject({ complete: true });
  });

  test('tells refusals from answers', async () => {
    const { control } = app;
    const unknown = await control.rateLimit('no.such.task', '1/s', PATIENT);
    expect([unknown.answers.size, [...unknown.errors]]).toEqual([0, [[node, 'unknown task']]]);
    const command = await control.call('no_such_command', {}, PATIENT);
    expect([...command.errors]).toEqual([[node, "KeyError('no_such_command')"]]);
    const bad = await control.call('enable_events', { surprise: 1 }, PATIENT);
    expect(bad.errors.get(node)).toContain('surprise');
  });

  test('reaches only who is meant', async () => {
    const { control } = app;
    expect([...(await control.ping({ ...PATIENT, destination: node })).answers.keys()]).toEqual([node]);
    expect((await control.ping({ destination: 'nobody@nowhere', timeout: '300ms' })).answers.size).toBe(0);
    expect([...(await control.ping({ ...PATIENT, pattern: `${node.slice(0, 4)}*` })).answers.keys()]).toEqual([node]);
    expect((await control.ping({ pattern: 'nobody*', timeout: '300ms' })).answers.size).toBe(0);
    expect([...(await control.ping({ ...PATIENT, pattern: '^.*@', matcher: 'pcre' })).answers.keys()]).toEqual([node]);
  });

  test('a pause is remembered, and a worker in Python says that it does not know of any', async () => {
    const { changed, workers } = await app.control.pauseQueues('python', PATIENT);
    expect(changed).toEqual(['python']);
    expect([...workers.errors]).toEqual([[node, "KeyError('pauses_changed')"]]);
    expect(await app.control.paused()).toMatchObject([{ kind: 'queue', name: 'python' }]);
    expect((await app.control.resumeQueues('python', PATIENT)).changed).toEqual(['python']);
    expect(await app.control.paused()).toEqual([]);
  });

  test('stops it', async () => {
    const heardBy = await app.control.shutdown({ destination: node });
    expect(heardBy).toBe(name === 'redis' ? 1 : null);
    await until(async () => (await app.control.ping({ timeout: '300ms' })).answers.size === 0, 'the worker to be gone', 30_000);
  });
});
