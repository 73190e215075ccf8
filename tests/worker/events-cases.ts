/** The events of a worker, on any broker: one suite, run by a file for each. */
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { type App, createApp, type EventStream, Reject, taskContext, type WireEvent, type Worker } from '../../src/index.js';
import { until } from './harness.js';

export interface EventsBroker {
  /** One that nothing else uses. */
  url(): string;
  close(): Promise<void>;
}

/** Somebody who listens. */
interface Monitor {
  readonly events: WireEvent[];
  readonly stream: EventStream;
  until(condition: (events: readonly WireEvent[]) => boolean): Promise<void>;
}

const NODE = 'w1@here';

/** The fields of an event of this type as a Python worker sent it. */
function recordedFields(vector: string, type: string): string[] {
  const { wire } = JSON.parse(readFileSync(new URL(`../vectors/${vector}.json`, import.meta.url), 'utf8')) as {
    wire: { messages: { body_json: WireEvent | WireEvent[] }[] };
  };
  const event = wire.messages.flatMap(({ body_json }) => body_json).find((each) => each.type === type);
  if (!event) throw new Error(`${vector} has no ${type}`);
  return Object.keys(event).sort();
}

function makeTasks(app: App) {
  return {
    add: app.fn('t.add', (x: number, y: number) => x + y),
    quiet: app.fn('t.quiet', (x: number) => x, { ignoreResult: true }),
    early: app.fn('t.early', (x: number) => x, { ack: 'early' }),
    fail: app.fn('t.fail', (message: string): number => {
      throw new RangeError(message);
    }),
    flaky: app.fn(
      't.flaky',
      (): number => {
        if (taskContext().attempt === 1) throw new Error('again');
        return 1;
      },
      { retry: { max: 1, backoff: 'fixed', base: '20ms', jitter: 'none' } },
    ),
    speaks: app.fn('t.speaks', (): number => {
      taskContext().sendEvent('task-mine', { note: 'hello', n: 3 });
      return 1;
    }),
    rejected: app.fn('t.rejected', (): number => {
      throw new Reject('not mine');
    }),
  };
}

export function eventsSuite(name: string, open: () => Promise<EventsBroker>): void {
  describe(`events of a worker on ${name}`, () => {
    let broker: EventsBroker;
    let app: App;
    let tasks: ReturnType<typeof makeTasks>;
    let workers: Worker[];

    beforeAll(async () => {
      broker = await open();
    });
    afterAll(() => broker.close());
    beforeEach(() => {
      app = createApp({ broker: broker.url(), results: 'memory:', logger: silentLogger });
      tasks = makeTasks(app);
      workers = [];
    });
    afterEach(async () => {
      await Promise.all(workers.map((worker) => worker.close()));
      await app.close();
    });

    const start = async (options: Parameters<App['worker']>[0] = {}): Promise<Worker> => {
      const worker = await app.worker({ pool: 'inline', name: NODE, logger: silentLogger, grace: '2s', ...options });
      workers.push(worker);
      return worker;
    };
    /** All that is heard from now on. */
    const hear = async (types?: readonly string[]): Promise<Monitor> => {
      const stream = app.events(types === undefined ? {} : { types });
      const events: WireEvent[] = [];
      void (async () => {
        for await (const event of stream) events.push(event);
      })();
      await stream.ready;
      const heard = (condition: (events: readonly WireEvent[]) => boolean): Promise<void> =>
        until(() => condition(events), `heard enough: ${JSON.stringify(events.map(({ type, uuid }) => [type, uuid]))}`);
      return { events, stream, until: heard };
    };
    /**
     * Somebody listens, and a worker knows that. It asks the broker when it starts, and takes tasks before it has the answer: how those
     * begin is told to nobody.
     */
    const watch = async (options: Parameters<App['worker']>[0] = {}): Promise<Monitor> => {
      const monitor = await hear();
      await start(options);
      await monitor.until((events) => events.some(({ type, freq }) => type === 'worker-heartbeat' && freq === 2));
      return monitor;
    };
    const of = (events: readonly WireEvent[], uuid: string): WireEvent[] => events.filter((event) => event.uuid === uuid);
    const types = (events: readonly WireEvent[]): string[] => events.map(({ type }) => type);
    const ended =
      (uuid: string, last: string) =>
      (events: readonly WireEvent[]): boolean =>
        of(events, uuid).some(({ type }) => type === last);

    test('a task is received, started and succeeds, with the fields of a Python worker', async () => {
      const monitor = await watch();
      const { id } = await tasks.add.send(2, 2);
      await monitor.until(ended(id, 'task-succeeded'));
      const events = of(monitor.events, id);
      expect(types(events)).toEqual(['task-received', 'task-started', 'task-succeeded']);
      for (const event of events) expect(Object.keys(event).sort()).toEqual(recordedFields('g-redis-task-success', event.type));
      expect(events).toMatchObject([
        {
          hostname: NODE,
          pid: process.pid,
          name: 't.add',
          args: '(2, 2)',
          kwargs: '{}',
          root_id: id,
          parent_id: null,
          retries: 0,
        },
        { hostname: NODE },
        { result: '4', runtime: expect.any(Number) },
      ]);
      const clocks = events.map(({ clock }) => clock);
      expect(clocks).toEqual([...clocks].sort((a, b) => a - b));
      expect(new Set(clocks).size).toBe(3);
    });

    test('the result can be read as soon as its event is heard', async () => {
      const monitor = await watch();
      const { id } = await tasks.add.send(20, 1);
      await monitor.until(ended(id, 'task-succeeded'));
      expect(await app.handle(id).state()).toBe('SUCCESS');
    });

    test.each(['quiet', 'early'] as const)('a task that is %s has its events too', async (task) => {
      const monitor = await watch();
      const { id } = await tasks[task].send(1);
      await monitor.until(ended(id, 'task-succeeded'));
      expect(types(of(monitor.events, id))).toEqual(['task-received', 'task-started', 'task-succeeded']);
    });

    test('a failure tells its error and traceback, a retry too, and then runs again', async () => {
      const monitor = await watch();
      const { id: failed } = await tasks.fail.send("it's ☃");
      const { id: flaky } = await tasks.flaky.send();
      await monitor.until(ended(failed, 'task-failed'));
      await monitor.until(ended(flaky, 'task-succeeded'));
      const failure = of(monitor.events, failed).at(-1) as WireEvent;
      expect(types(of(monitor.events, failed))).toEqual(['task-received', 'task-started', 'task-failed']);
      expect(Object.keys(failure).sort()).toEqual(recordedFields('g-redis-task-failed', 'task-failed'));
      expect(failure).toMatchObject({ exception: `RangeError("it's ☃")`, traceback: expect.stringContaining('events-cases') });
      expect(types(of(monitor.events, flaky))).toEqual([
        ...['task-received', 'task-started', 'task-retried'],
        ...['task-received', 'task-started', 'task-succeeded'],
      ]);
      const retried = of(monitor.events, flaky)[2] as WireEvent;
      expect(Object.keys(retried).sort()).toEqual(recordedFields('g-redis-task-retried', 'task-retried'));
      expect(retried.exception).toBe("Error('again')");
      expect(of(monitor.events, flaky)[3]).toMatchObject({ retries: 1 });
    });

    test("a task's own event comes between those of the worker", async () => {
      const monitor = await watch();
      const { id } = await tasks.speaks.send();
      await monitor.until(ended(id, 'task-succeeded'));
      await monitor.until(ended(id, 'task-mine'));
      expect(types(of(monitor.events, id)).sort()).toEqual(['task-mine', 'task-received', 'task-started', 'task-succeeded']);
      const own = of(monitor.events, id).find(({ type }) => type === 'task-mine');
      expect(own).toMatchObject({ hostname: NODE, note: 'hello', n: 3 });
      expect(Object.keys(own as WireEvent).sort()).toEqual(recordedFields('g-redis-task-custom', 'task-mine'));
    });

    test('what does not run is told too: expired, rejected, unknown', async () => {
      const monitor = await watch({ unknownTaskPatience: '1ms' });
      const { id: expired } = await tasks.add.with({ expires: new Date(1_600_000_000_000) }).send(1, 1);
      const { id: rejected } = await tasks.rejected.send();
      const { id: unknown } = await app.remote<[], null>('t.nobody').send();
      await monitor.until(ended(expired, 'task-revoked'));
      await monitor.until(ended(rejected, 'task-rejected'));
      await monitor.until(ended(unknown, 'task-failed'));
      const [revoked, refusal, failure] = [
        of(monitor.events, expired),
        of(monitor.events, rejected),
        of(monitor.events, unknown),
      ];
      expect(revoked).toMatchObject([{ type: 'task-revoked', terminated: false, signum: null, expired: true }]);
      expect(Object.keys(revoked[0] as WireEvent).sort()).toEqual(recordedFields('g-redis-task-revoked-expired', 'task-revoked'));
      expect(types(refusal)).toEqual(['task-received', 'task-started', 'task-rejected']);
      expect(Object.keys(refusal[2] as WireEvent).sort()).toEqual(recordedFields('g-redis-task-rejected', 'task-rejected'));
      expect(failure).toMatchObject([{ type: 'task-failed', exception: "NotRegistered('t.nobody')" }]);
      expect(Object.keys(failure[0] as WireEvent).sort()).toEqual(recordedFields('g-redis-task-unknown', 'task-failed'));
    });

    test('a worker comes, lives and goes, and its last event is worker-offline', async () => {
      const monitor = await hear();
      const worker = await start();
      await monitor.until((events) => events.some(({ type, freq }) => type === 'worker-heartbeat' && freq === 2));
      const { id } = await tasks.add.send(1, 1);
      await monitor.until(ended(id, 'task-succeeded'));
      await worker.close();
      await monitor.until((events) => events.some(({ type }) => type === 'worker-offline'));
      const own = monitor.events.filter(({ type }) => type.startsWith('worker-'));
      expect(own[0]?.type).toBe('worker-online');
      expect(monitor.events.at(-1)?.type).toBe('worker-offline');
      for (const event of own)
        expect(Object.keys(event).sort()).toEqual(recordedFields('g-redis-worker-online', 'worker-online'));
      expect(own.at(-1)).toMatchObject({ hostname: NODE, active: 0, processed: 1, sw_ident: 'lovage' });
    });

    test('a monitor that comes later gets task events from then on; when it goes they end, and heartbeats say so', async () => {
      const workersOnly = await hear(['worker-heartbeat', 'worker-online']);
      await start();
      await workersOnly.until((events) => events.length > 0);
      const { id: before } = await tasks.add.send(1, 1);
      await app.handle(before).result({ timeout: '10s' });
      const monitor = await hear();
      // The command that it sends wakes the worker; how soon, only the heartbeat tells.
      await monitor.until((events) => events.some(({ type, freq }) => type === 'worker-heartbeat' && freq === 2));
      const { id } = await tasks.add.send(2, 2);
      await monitor.until(ended(id, 'task-succeeded'));
      expect(of(monitor.events, before)).toEqual([]);
      await monitor.stream.close();
      await tasks.add.send(3, 3);
      const { events } = workersOnly;
      await until(() => events.at(-1)?.freq === 30, 'the worker knows that nobody listens to task events', 30_000);
    }, 60_000);

    test('without a listener, events: true sends them all the same, and events: false does not speak at all', async () => {
      await start({ events: false, name: 'silent@here' });
      const monitor = await hear();
      const { id } = await tasks.add.send(1, 1);
      await app.handle(id).result({ timeout: '10s' });
      await Promise.all(workers.splice(0).map((worker) => worker.close()));
      expect(of(monitor.events, id)).toEqual([]);
      expect(types(monitor.events).filter((type) => type !== 'worker-heartbeat' && type !== 'worker-offline')).toEqual([]);
      await monitor.stream.close();
      await start({ events: true });
      const late = await hear(['task-succeeded']);
      const { id: second } = await tasks.add.send(1, 1);
      await late.until(ended(second, 'task-succeeded'));
    });
  });
}
