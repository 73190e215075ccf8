/** Events across the languages: Python's monitors and our workers, our monitors and Python's workers. */
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openBroker } from '../../src/brokers/from-url.js';
import { silentLogger } from '../../src/core/logger.js';
import { type App, ClusterState, createApp, type RemoteTask, taskContext, type WireEvent, type Worker } from '../../src/index.js';
import { encodeEvent } from '../../src/wire/event-message.js';
import { hasCelery, startPythonWorker } from '../support/celery.js';
import { PythonProgram } from '../support/python-program.js';
import { until } from '../worker/harness.js';
import { type Fleet, openFleet } from './fleet.js';

const VERSIONS = (['5.2', '5.6'] as const).filter((version) => hasCelery(version) || process.env.CI);
const CASES = (['redis', 'rabbitmq with redis results'] as const).flatMap((name) =>
  VERSIONS.map((version) => [name, version] as const),
);
const NODE = 'ours@here';

interface MonitorState {
  readonly workers: Readonly<Record<string, { alive: boolean; active: number; sw_ident: string; freq: number }>>;
  readonly tasks: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

class PythonMonitor extends PythonProgram {
  until(condition: (lines: readonly string[]) => boolean, what: string): Promise<void> {
    const shown = (): string => `${this.lines.slice(-20).join('\n')} ${this.errors}`;
    return until(
      () => {
        if (this.hasEnded) throw new Error(`the Python monitor ended: ${this.errors}`);
        return condition(this.lines);
      },
      `${what}: ${shown()}`,
      30_000,
    );
  }
}

describe.each(CASES)('events on %s, Celery %s', (name, version) => {
  let fleet: Fleet;
  beforeAll(async () => {
    fleet = await openFleet(name);
  }, 90_000);
  afterAll(() => fleet?.close());

  describe('a worker of ours', () => {
    let app: App;
    let worker: Worker;
    let monitor: PythonMonitor | null;
    let tasks: { add: RemoteTask<[number, number], number>; fail: RemoteTask<[string], number>; flaky: RemoteTask<[], number> };
    beforeEach(async () => {
      monitor = null;
      app = createApp({ broker: fleet.broker, results: fleet.results, logger: silentLogger, sendSentEvent: true });
      tasks = {
        add: app.fn('ours.add', (x: number, y: number) => x + y),
        fail: app.fn('ours.fail', (message: string): number => {
          throw new RangeError(message);
        }),
        flaky: app.fn(
          'ours.flaky',
          (): number => {
            if (taskContext().attempt === 1) throw new Error('again');
            return 1;
          },
          { retry: { max: 1, backoff: 'fixed', base: '20ms', jitter: 'none' } },
        ),
      };
      worker = await app.worker({ pool: 'inline', name: NODE, logger: silentLogger });
    });
    afterEach(async () => {
      await monitor?.end('SIGTERM');
      await worker?.close();
      await app?.close();
    });

    test('is alive for a monitor like Flower, and its tasks have their names, states and results', async () => {
      monitor = new PythonMonitor(version, [fileURLToPath(new URL('events_monitor.py', import.meta.url)), fleet.broker]);
      const events = (): WireEvent[] =>
        (monitor as PythonMonitor).lines.map((line) => JSON.parse(line) as WireEvent).filter(({ type }) => type !== undefined);
      await monitor.until((lines) => lines.some((line) => line.includes('listening')), 'it listens');
      // The command that it sends at the start is all that wakes our worker.
      await monitor.until(() => events().some(({ type, freq }) => type === 'worker-heartbeat' && freq === 2), 'quick heartbeats');
      const { id: added } = await tasks.add.send(2, 3);
      const { id: failed } = await tasks.fail.send("it's ☃");
      const { id: flaky } = await tasks.flaky.send();
      const { id: expired } = await tasks.add.with({ expires: new Date(1_600_000_000_000) }).send(1, 1);
      const has = (uuid: string, type: string) => (): boolean =>
        events().some((event) => event.uuid === uuid && event.type === type);
      await monitor.until(has(added, 'task-succeeded'), 'success');
      await monitor.until(has(failed, 'task-failed'), 'failure');
      await monitor.until(has(flaky, 'task-succeeded'), 'the second try');
      await monitor.until(has(expired, 'task-revoked'), 'the expired one');
      await monitor.end();
      const last = monitor.lines
        .map((line) => JSON.parse(line) as { state?: MonitorState })
        .find(({ state }) => state !== undefined);
      const { workers, tasks: seen } = (last as { state: MonitorState }).state;
      expect(workers[NODE]).toMatchObject({ alive: true, active: 0, sw_ident: 'lovage' });
      expect(seen[added]).toMatchObject({
        name: 'ours.add',
        state: 'SUCCESS',
        args: '(2, 3)',
        result: '5',
        worker: NODE,
        retries: 0,
      });
      expect(seen[failed]).toMatchObject({ name: 'ours.fail', state: 'FAILURE', exception: `RangeError("it's ☃")` });
      expect(seen[flaky]).toMatchObject({ name: 'ours.flaky', state: 'SUCCESS', retries: 1 });
      expect(seen[expired]).toMatchObject({ name: 'ours.add', state: 'REVOKED' });
      const order = events()
        .filter(({ uuid }) => uuid === added)
        .map(({ type }) => type);
      // What the client tells and what the worker tells take different ways.
      expect(order.filter((type) => type !== 'task-sent')).toEqual(['task-received', 'task-started', 'task-succeeded']);
      expect(order).toContain('task-sent');
    }, 90_000);

    test('is shown by celery events --dump as one of its own', async () => {
      monitor = new PythonMonitor(version, ['-m', 'celery', '-b', fleet.broker, 'events', '--dump']);
      await monitor.until(
        (lines) => lines.some((line) => line.includes(`${NODE} [`) && line.includes('heartbeat')),
        'our heartbeat',
      );
      const { id } = await tasks.add.send(4, 5);
      await monitor.until((lines) => lines.some((line) => line.includes(id) && line.includes('task succeeded')), 'the success');
      const ours = monitor.lines.filter((line) => line.includes(id) && !line.includes('task sent'));
      expect(ours.map((line) => /\] (task \w+):/.exec(line)?.[1])).toEqual(['task received', 'task started', 'task succeeded']);
      expect(ours[0]).toContain(`ours.add(${id}) args=(4, 5) kwargs={}`);
      expect(ours[2]).toContain('result=9');
    }, 90_000);
  });

  test('a worker of Python is seen by our receiver, after enable_events with its tasks', async () => {
    const app = createApp({ broker: fleet.broker, results: fleet.results, logger: silentLogger });
    const state = new ClusterState();
    const stream = app.events();
    const reading = (async () => {
      for await (const event of stream) state.apply(event, Date.now());
    })();
    await stream.ready;
    const python = await startPythonWorker(version, fleet.broker, fleet.results);
    try {
      const remote = (task: string) => app.remote<readonly unknown[], unknown>(`py.${task}`, { queue: 'python' });
      const node = (): string => state.workers().find(({ software }) => software?.startsWith('py-celery'))?.name ?? '';
      await until(() => node() !== '', 'the worker of Python says that it is there', 30_000);
      expect(state.workers().find(({ name }) => name === node())).toMatchObject({ alive: true, freq: 2, active: 0 });
      const { answers } = await app.control.enableEvents();
      expect(Object.fromEntries(answers)).toEqual({ [node()]: { ok: 'task events enabled' } });
      const { id: added } = await remote('add').send(2, 3);
      const { id: failed } = await remote('fail').send('boom');
      const { id: flaky } = await remote('flaky').send('key', 1);
      for (const id of [added, failed, flaky])
        await until(() => ['SUCCESS', 'FAILURE'].includes(state.task(id)?.state ?? ''), `${id} has ended for us`, 30_000);
      expect(state.task(added)).toMatchObject({ name: 'py.add', state: 'SUCCESS', args: '(2, 3)', result: '5', worker: node() });
      expect(state.task(failed)).toMatchObject({ name: 'py.fail', state: 'FAILURE', exception: "ValueError('boom')" });
      expect(state.task(failed)?.traceback).toContain('Traceback (most recent call last)');
      expect(state.task(flaky)).toMatchObject({ name: 'py.flaky', state: 'SUCCESS', retries: 1 });
      expect(stream.refused).toBe(0);
      await python.stop();
      await until(
        () => state.workers().some(({ offline, software }) => offline && software?.startsWith('py-celery')),
        'it says goodbye',
      );
    } finally {
      await python.stop();
      await stream.close();
      await reading;
      await app.close();
    }
  }, 120_000);

  test('a worker of Python, which listens to the heartbeats of others, does not make ours send task events', async () => {
    const app = createApp({ broker: fleet.broker, results: fleet.results, logger: silentLogger });
    const python = await startPythonWorker(version, fleet.broker, fleet.results);
    const ours = await app.worker({ pool: 'inline', name: NODE, logger: silentLogger });
    const stream = app.events({ types: ['worker-online', 'worker-heartbeat'] });
    const freqs: unknown[] = [];
    const reading = (async () => {
      for await (const { hostname, freq } of stream) if (hostname === NODE) freqs.push(freq);
    })();
    try {
      await stream.ready;
      const broker = await openBroker({ url: fleet.broker, logger: silentLogger, role: 'client' });
      const event = { type: 'worker-heartbeat', hostname: 'nobody@here', timestamp: 0, clock: 0, utcoffset: 0, freq: 1 };
      // Somebody beside our stream hears heartbeats, where the broker can count them.
      const heard = async (): Promise<boolean> => ((await broker.broadcast(encodeEvent(event))) ?? 2) >= 2;
      await until(heard, 'Python listens to heartbeats', 30_000);
      await broker.close();
      for (let beats = 1; beats <= 3; beats++) {
        const before = freqs.length;
        // Our worker beats, and looks who listens to task events; its answer to the next question comes after that.
        await app.control.cast('heartbeat');
        await until(() => freqs.length > before, 'our worker beats', 30_000);
        await app.control.ping({ destination: NODE });
      }
      expect(new Set(freqs)).toEqual(new Set([30]));
    } finally {
      await stream.close();
      await reading;
      await Promise.all([ours.close(), python.stop()]);
      await app.close();
    }
  }, 120_000);
});
